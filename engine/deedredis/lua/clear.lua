-- Removes a partition with its groups, and returns 1 when there is more of it.
--
-- KEYS: log, meta, producers   ARGV: generation
local log = KEYS[1]
if redis.call('HGET', KEYS[2], 'generation') ~= ARGV[1] then return 0 end
if unstream(log) == 1 then return 1 end
for _, g in ipairs(redis.call('SMEMBERS', log .. ':groups')) do
  local claim = log .. ':group:' .. g
  redis.call('UNLINK', claim, claim .. ':letters', claim .. ':order', claim .. ':due', claim .. ':numbers',
    claim .. ':spots', claim .. ':marks')
end
redis.call('UNLINK', log, KEYS[2], KEYS[3], log .. ':groups', log .. ':due', log .. ':later')
return 0
