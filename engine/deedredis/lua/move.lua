-- Appends delayed events that are due, in order of due time, and returns how many,
-- and when the next is due in microseconds, '' when none waits.
--
-- KEYS: log, meta   ARGV: how many at most
local log, meta = KEYS[1], KEYS[2]
local m = redis.call('HMGET', meta, 'last', 'ms', 'entries', 'bytes')
if not m[1] then return {0, ''} end
local now, micros = clock()
local last, ms = tonumber(m[1]), math.max(now, tonumber(m[2]))
local entries, bytes = tonumber(m[3]), tonumber(m[4])
local due = redis.call('ZRANGEBYSCORE', log .. ':due', '-inf', micros, 'LIMIT', 0, ARGV[1])
if #due > 0 then
  if lost(log, last) then return {0, ''} end
  ms = opening(log, ms, last + 1)
  if not ms then return {0, ''} end
  for _, n in ipairs(due) do
    local e = redis.call('HMGET', log .. ':later', 'm' .. n, 'd' .. n)
    last = last + 1
    redis.call('XADD', log, string.format('%.0f-%.0f', ms, last), 'm', e[1], 'd', e[2])
    redis.call('HDEL', log .. ':later', 'm' .. n, 'd' .. n)
    redis.call('ZREM', log .. ':due', n)
    entries, bytes = entries + 1, bytes + #e[2]
  end
  redis.call('HSET', meta, 'last', last, 'ms', string.format('%.0f', ms), 'entries', entries, 'bytes', bytes)
end
local first = redis.call('ZRANGE', log .. ':due', 0, 0, 'WITHSCORES')
return {#due, first[2] or ''}
