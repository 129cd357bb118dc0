-- Returns whether a group is paused, and its seats, each with the milliseconds left of its lease.
--
-- KEYS: group, seats
local paused = redis.call('HGET', KEYS[1], 'paused')
if not paused then return {} end
local ms = clock()
local out = {paused}
local all = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', ms), '+inf', 'WITHSCORES')
for i = 1, #all, 2 do
  out[#out + 1] = all[i]
  out[#out + 1] = string.format('%.0f', tonumber(all[i + 1]) - ms)
  out[#out + 1] = redis.call('HGET', KEYS[1], 'lease ' .. all[i]) or '0'
end
return out
