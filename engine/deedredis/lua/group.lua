-- Makes a group's record, unless it is there: 'new' then.
--
-- KEYS: groups, group, topic
-- ARGV: name, when in nanoseconds, types that cannot be replayed, field that notes its deletion
redis.call('HDEL', KEYS[3], ARGV[4])
redis.call('SADD', KEYS[1], ARGV[1])
local new = redis.call('HSETNX', KEYS[2], 'created', ARGV[2])
redis.call('HSET', KEYS[2], 'unsafe', ARGV[3])
if new == 0 then return 'there' end
redis.call('HSET', KEYS[2], 'paused', 0, 'run', 0, 'seen', 0)
return 'new'
