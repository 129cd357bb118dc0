-- Lets a group's members fetch nothing, or go on.
--
-- KEYS: group   ARGV: 1 or 0
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'paused', ARGV[1])
return 1
