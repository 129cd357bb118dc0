-- Removes records that were handled and returns 'ok' and the chains of which nothing is
-- left. Where several runs parked a position it is the oldest run's that is not dead.
--
-- KEYS: claim   ARGV: epoch, run, then positions as spots have them
local claim = KEYS[1]
if fenced(claim, ARGV[1]) then return {'fenced'} end
wrote(claim)
local ms = clock()
local out = {'ok'}
for at = 3, #ARGV do
  local spot, r
  for run = 0, tonumber(ARGV[2]) do
    spot = string.format('%06d.', run) .. ARGV[at]
    r = read(claim, spot)
    if r and r.name ~= 'dead' then break end
  end
  if r and remove(claim, spot, r, ms) then out[#out + 1] = r.chain end
end
return out
