-- Makes a topic's record, or returns the one there is.
--
-- KEYS: topic
-- ARGV: number, incarnation, created, what partitions that are there say: generation
-- or '' and incarnation, then settings as pairs
if redis.call('HGET', KEYS[1], 'deleted') == '0' then
  return redis.call('HGETALL', KEYS[1])
end
-- The generation is the time where that is more, so that none comes twice, not even after
-- the server has lost everything. The one before was deleted; what is between was lost.
-- A record alone that was lost comes back with the generation of its partitions.
local before = redis.call('HGET', KEYS[1], 'generation')
local generation = math.max(tonumber(before or 0) + 1, tonumber(redis.call('TIME')[1]))
local incarnation = ARGV[2]
if not before and ARGV[4] ~= '' then generation, incarnation = ARGV[4], ARGV[5] end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'format', 1, 'deleted', 0, 'ready', 0, 'generation', generation, 'before', before or 0,
  'number', ARGV[1], 'incarnation', incarnation, 'created', ARGV[3])
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('HGETALL', KEYS[1])
