-- Returns 'ok' and the first records of a chain in order.
--
-- KEYS: claim   ARGV: epoch, chain, how many
local claim, chain = KEYS[1], ARGV[2]
if fenced(claim, ARGV[1]) then return {'fenced'} end
local out = {'ok'}
if chain == '' then return out end
local page = redis.call('ZRANGEBYLEX', claim .. ':order', '[' .. chain, '+', 'LIMIT', 0, ARGV[3])
for _, found in ipairs(page) do
  if string.sub(found, 1, #chain) ~= chain then break end
  out[#out + 1] = letter(claim, string.sub(found, #chain + 1))
end
return out
