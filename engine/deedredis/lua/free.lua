-- Gives up a claim that its seat never used.
--
-- KEYS: claim   ARGV: seat, epoch, whether it was clean
local c = redis.call('HMGET', KEYS[1], 'epoch', 'seat')
if c[1] ~= ARGV[2] or c[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seat', '', 'clean', ARGV[3])
return 1
