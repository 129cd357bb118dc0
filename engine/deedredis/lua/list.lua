-- Returns a page of a side log's records by number, those of the states asked for, after
-- the number of the last record looked at, '' when there are no more.
--
-- KEYS: claim   ARGV: after number, how many to look at, states as 'dead,waiting' or ''
local claim = KEYS[1]
local page = redis.call('ZRANGEBYSCORE', claim .. ':numbers', '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
local out = {''}
for _, spot in ipairs(page) do
  local r = read(claim, spot)
  if r then
    if ARGV[3] == '' or string.find(',' .. ARGV[3] .. ',', ',' .. r.name .. ',', 1, true) then
      out[#out + 1] = letter(claim, spot)
    end
    out[1] = r.number
  end
end
if #page < tonumber(ARGV[2]) then out[1] = '' end
return out
