-- Moves a claim to a seat under the next epoch, if its owner and epoch are still
-- those. An owner that is still named did not release it, so what it was handling is
-- suspect, unless the owner is the seat itself: it was late with its lease, and lives.
--
-- KEYS: claim, meta   ARGV: seat, owner, epoch
local c = redis.call('HMGET', KEYS[1], 'epoch', 'seat', 'clean', 'position', 'run', 'quiet', 'replay')
if c[1] ~= ARGV[3] or c[2] ~= ARGV[2] or redis.call('EXISTS', KEYS[2]) == 0 then return {} end
local epoch = advance(KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', epoch, 'seat', ARGV[1], 'clean', 0, 'writes', 0)
local suspect = c[3] == '0' and c[2] ~= ARGV[1]
return {epoch, c[4], suspect and '1' or '0', c[5], c[6], c[7]}
