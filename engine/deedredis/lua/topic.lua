-- Makes a topic's record, or returns the one there is.
--
-- KEYS: topic   ARGV: number, incarnation, created, then settings as pairs
if redis.call('HGET', KEYS[1], 'deleted') == '0' then
  return redis.call('HGETALL', KEYS[1])
end
-- The generation is the time where that is more, so that none comes twice, not even after
-- the server has lost everything. The one before was deleted; what is between was lost.
local before = redis.call('HGET', KEYS[1], 'generation') or '0'
local generation = math.max(tonumber(before) + 1, tonumber(redis.call('TIME')[1]))
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'format', 1, 'deleted', 0, 'ready', 0, 'generation', generation, 'before', before, 'number', ARGV[1], 'incarnation', ARGV[2], 'created', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('HGETALL', KEYS[1])
