-- Redrives or discards the dead letters among the numbers, in whichever group of the
-- partition they are, and returns how many there were.
--
-- KEYS: log   ARGV: 'redrive' or 'discard', then numbers
local n, ms = 0, clock()
for _, g in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':groups')) do
  local claim = KEYS[1] .. ':group:' .. g
  for at = 2, #ARGV do
    local spot = redis.call('ZRANGEBYSCORE', claim .. ':numbers', ARGV[at], ARGV[at])[1]
    local r = spot and read(claim, spot)
    if r and r.name == 'dead' then
      n = n + 1
      if ARGV[1] == 'redrive' then
        count(claim, 'dead', -1)
        count(claim, 'redriven', 1)
        r.name = 'redriven'
        write(claim, spot, r, ms)
      else
        remove(claim, spot, r, ms)
      end
    end
  end
end
return n
