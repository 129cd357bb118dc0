-- Removes a seat, and notes when its group had a member last.
--
-- KEYS: group, seats   ARGV: seat
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], 'lease ' .. ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'seen', string.format('%.0f', (clock())))
end
return 1
