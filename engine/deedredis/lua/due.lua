-- Returns 'ok' and the first records of at most so many keys that may be tried now.
--
-- KEYS: claim   ARGV: epoch, how many
local claim = KEYS[1]
if fenced(claim, ARGV[1]) then return {'fenced'} end
local ms = clock()
local most, out, offset = tonumber(ARGV[2]), {'ok'}, 0
while #out <= most do
  local page = redis.call('ZRANGEBYSCORE', claim .. ':due', '-inf', string.format('%.0f', ms), 'LIMIT', offset, 100)
  for _, spot in ipairs(page) do
    local r = read(claim, spot)
    if r and (not chained(r) or first(claim, r.chain) == spot) and #out <= most then
      out[#out + 1] = letter(claim, spot)
    end
  end
  if #page < 100 then break end
  offset = offset + 100
end
return out
