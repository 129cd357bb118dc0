-- Stores marks and returns all that are above the claim's position: 'ok', then positions
-- and values. An empty value removes one.
--
-- KEYS: claim   ARGV: epoch, then positions and values
local claim = KEYS[1]
if fenced(claim, ARGV[1]) then return {'fenced'} end
for at = 2, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', claim .. ':marks', ARGV[at])
  else
    redis.call('HSET', claim .. ':marks', ARGV[at], ARGV[at + 1])
  end
end
local out = {'ok'}
local position = redis.call('HGET', claim, 'position')
local all = redis.call('HGETALL', claim .. ':marks')
for i = 1, #all, 2 do
  if after(all[i], position) then
    out[#out + 1] = all[i]
    out[#out + 1] = all[i + 1]
  end
end
return out
