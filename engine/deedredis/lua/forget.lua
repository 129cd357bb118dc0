-- Forgets a group on a partition.
--
-- KEYS: log   ARGV: group
local claim = KEYS[1] .. ':group:' .. ARGV[1]
redis.call('SREM', KEYS[1] .. ':groups', ARGV[1])
redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
return redis.call('UNLINK', claim, claim .. ':letters', claim .. ':order', claim .. ':due', claim .. ':numbers',
  claim .. ':spots', claim .. ':marks')
