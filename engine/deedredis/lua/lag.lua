-- Tells how a group stands on a partition.
--
-- KEYS: log, meta, claim   ARGV: how many entries to count at most
-- Returns {position, end, events, milliseconds of the oldest or '', parked, dead, seat, epoch, rate, status,
-- dropped, exact}, {'marker'} when the partition has none, or {} when the group has no claim.
local log, meta, claim = KEYS[1], KEYS[2], KEYS[3]
local c = redis.call('HMGET', claim, 'position', 'parked', 'dead', 'seat', 'epoch', 'rate', 'status', 'dropped', 'run')
local m = redis.call('HMGET', meta, 'last', 'ms', 'entries', 'trimmed', 'removed')
if not m[1] then return {'marker'} end
if not c[1] then return {} end
local position, run = c[1], tonumber(c[9])
local last = ending(log)
local pms, pseq = 0, 0
if position ~= '' then pms, pseq = parts(position) end

-- Where nobody but deed wrote or deleted, the ids tell how many events lie behind.
local info = {}
if last ~= '' then
  local raw = redis.call('XINFO', 'STREAM', log)
  for i = 1, #raw, 2 do info[raw[i]] = raw[i + 1] end
end
local pure = last == '' or info['entries-added'] == tonumber(m[3])
  and info['length'] == tonumber(m[3]) - tonumber(m[4])
local events, exact = 0, 1
if pure then
  events = tonumber(m[1]) - math.max(pseq, tonumber(m[5]))
else
  local from, most = position == '' and '-' or '(' .. position, tonumber(ARGV[1])
  local counted = 0
  while true do
    local page = redis.call('XRANGE', log, from, '+', 'COUNT', 200)
    for _, e in ipairs(page) do events = events + held(e[2]) end
    counted = counted + #page
    if #page < 200 then break end
    if counted >= most then
      exact = 0
      events = math.max(events, tonumber(m[1]) - pseq)
      break
    end
    from = '(' .. page[#page][1]
  end
end

-- Those above the position that are parked or dead already do not count.
local prefix = string.format('%06d.', run)
local spots = claim .. ':spots'
local aside = redis.call('ZLEXCOUNT', spots, string.format('(%s%015.0f-%015.0f', prefix, pms, pseq), '(' .. prefix .. '~')
events = math.max(0, events - aside)
local oldest = ''
if events > 0 then
  local from = position == '' and '-' or '(' .. position
  while oldest == '' do
    local page = redis.call('XRANGE', log, from, '+', 'COUNT', aside > 0 and 100 or 1)
    if #page == 0 then break end
    for _, e in ipairs(page) do
      local ms, seq = parts(e[1])
      local size = held(e[2])
      for k = size - 1, 0, -1 do
        local n = seq - k
        if n > pseq or ms > pms then
          if aside == 0 or not redis.call('ZSCORE', spots, string.format('%s%015.0f-%015.0f', prefix, ms, n)) then
            oldest = string.format('%.0f', math.min(ms, 2^53))
            break
          end
        end
      end
      if oldest ~= '' then break end
    end
    from = '(' .. page[#page][1]
  end
end
local status = c[7]
if last == '' and tonumber(m[1]) > 0 then
  status = 'the stream is gone: somebody deleted it, or the server lost it'
end
if last ~= '' and not countable(last) then
  status = 'the log ends at the id ' .. last .. ', which another program added and nothing can follow'
end
return {position, last, events, oldest, c[2], c[3], c[4], c[5], c[6], status, c[8], exact}
