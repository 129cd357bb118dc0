-- Keeps a seat for lease milliseconds, and takes it where it is missing: 'new' then,
-- 'gone' when the group is.
--
-- KEYS: group, seats   ARGV: seat, lease, types that cannot be replayed
if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
local ms = clock()
local added = redis.call('ZADD', KEYS[2], ms + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[1], 'seen', string.format('%.0f', ms))
if added == 0 then return 'kept' end
for _, seat in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', ms - 60000))) do
  redis.call('ZREM', KEYS[2], seat) -- of processes that ended long ago
  redis.call('HDEL', KEYS[1], 'lease ' .. seat)
end
redis.call('HSET', KEYS[1], 'unsafe', ARGV[3], 'lease ' .. ARGV[1], ARGV[2])
return 'new'
