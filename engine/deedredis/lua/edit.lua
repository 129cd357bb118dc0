-- Replaces the data and edits of a dead letter, if its data is still what the caller saw.
--
-- KEYS: claim   ARGV: spot, data before, data, edits
local claim, spot = KEYS[1], ARGV[1]
local r = read(claim, spot)
if not r then return 'absent' end
if r.name ~= 'dead' then return r.name end
if redis.call('HGET', claim .. ':letters', 'd' .. spot) ~= ARGV[2] then return 'changed' end
redis.call('HSET', claim .. ':letters', 'd' .. spot, ARGV[3], 'e' .. spot, ARGV[4])
r.edited = '1'
write(claim, spot, r, nil)
return 'ok'
