-- Makes a partition's marker for a generation of its topic. What an older generation
-- left is removed. Epochs begin at the time, so that none comes twice, not even after
-- the server has lost everything.
--
-- KEYS: log, meta, producers   ARGV: generation, incarnation, window in milliseconds
local log, meta, producers = KEYS[1], KEYS[2], KEYS[3]
local there = redis.call('HGET', meta, 'generation')
if there and tonumber(there) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', log, meta, producers, log .. ':groups', log .. ':due', log .. ':later')
local ms = clock()
redis.call('HSET', meta, 'generation', ARGV[1], 'incarnation', ARGV[2], 'window', ARGV[3], 'last', 0, 'ms', 0,
  'entries', 0, 'removed', 0, 'trimmed', 0, 'bytes', 0, 'letters', 0, 'delayed', 0,
  'epoch', string.format('%.0f', ms))
return 1
