-- Returns 'ok' and at most so many chains that hold events back.
--
-- KEYS: claim   ARGV: epoch, how many
local claim = KEYS[1]
if fenced(claim, ARGV[1]) then return {'fenced'} end
local out, from = {'ok'}, '-'
while #out <= tonumber(ARGV[2]) do
  local found = redis.call('ZRANGEBYLEX', claim .. ':order', from, '+', 'LIMIT', 0, 1)[1]
  if not found then break end
  local chain = string.sub(found, 1, -39) -- without the spot, which has 38 bytes
  out[#out + 1] = chain
  from = '(' .. chain .. '~' -- behind every spot, which begin with a digit
end
return out
