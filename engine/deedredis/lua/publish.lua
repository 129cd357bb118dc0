-- Appends a batch, all of it or nothing, and returns what became of it:
-- {'stored', how many, last id}, or the reason why nothing was.
--
-- KEYS: log, meta, producers
-- ARGV: generation, producer, sequence, events, fields of an event, whether the topic
-- is full, whether they are packed. Then for each event: attributes, data and, with four
-- fields, when it is due in microseconds ('' for now), and its identity. Or for each
-- pack: sizes of the data, attributes, data, how many events.
local log, meta, producers = KEYS[1], KEYS[2], KEYS[3]
local producer, count, fields = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local m = redis.call('HMGET', meta, 'generation', 'last', 'ms', 'entries', 'bytes', 'window')
if not m[1] then return {'absent'} end
if ARGV[1] ~= '0' and ARGV[1] ~= m[1] then return {'generation', m[1]} end

local known = 0
if producer ~= '' then
  local before = redis.call('HGET', producers, producer)
  before = before and tonumber(string.match(before, '^%d+')) or 0
  local seq = tonumber(ARGV[3])
  if seq > before + 1 then return {'gap', before} end
  known = math.min(before + 1 - seq, count)
  if known == count then return {'stored', 0, ''} end
end
local window = tonumber(m[6])
if window > 0 and fields == 2 then return {'window', window} end
if ARGV[6] == '1' then return {'full'} end
if ARGV[7] == '1' and known > 0 then return {'known', known} end
local last, entries = tonumber(m[2]), tonumber(m[4])
if lost(log, last) then return {'lost'} end

local now, micros = clock()
local ms = math.max(now, tonumber(m[3]))
local stamp = string.format('%.0f-', ms)

local ids, older, fresh = '', nil, false -- fresh is the identity noted last

-- Nearly always the id of the first event is above all others. Asking costs more than
-- trying, so the log's end is looked at when it is not.
local call, format = redis.call, string.format
local function first(id, ...)
  local done = redis.pcall('XADD', log, id, ...)
  if not done.err then return id end
  local open, ending = opening(log, ms, last)
  if not open then
    if fresh then call('HDEL', ids, fresh) end -- it is not stored
    error(redis.error_reply('BARRED by the id ' .. ending))
  end
  ms = open
  stamp = format('%.0f-', ms)
  id = stamp .. format('%d', last)
  call('XADD', log, id, ...)
  return id
end

local stored, bytes, id = 0, 0, ''
if window > 0 then
  local turn = math.floor(ms / window)
  ids, older = log .. ':ids:' .. turn, log .. ':ids:' .. (turn - 1)
  if call('EXISTS', older) == 0 then older = nil end
end

-- seen tells whether an identity was stored within the window, and notes it if not.
-- What this turn of the window knows is younger than the window.
local function seen(identity)
  local at = older and call('HGET', older, identity)
  if at and ms - tonumber(string.match(at, '^%d+')) < window then return true end
  if call('HSETNX', ids, identity, stamp) == 0 then return true end
  fresh = identity
  return false
end

-- delay keeps an event until it is due.
local function delay(due, attributes, data)
  local n = string.format('%015.0f', redis.call('HINCRBY', meta, 'delayed', 1))
  redis.call('HSET', log .. ':later', 'm' .. n, attributes, 'd' .. n, data)
  redis.call('ZADD', log .. ':due', due, n)
end

if ARGV[7] == '1' then
  for at = 8, #ARGV, 4 do
    last = last + tonumber(ARGV[at + 3])
    id = first(stamp .. format('%d', last), 'm', ARGV[at + 1], 'd', ARGV[at + 2], 'l', ARGV[at])
    entries, bytes = entries + 1, bytes + #ARGV[at + 2]
  end
  stored = count
else
  for at = 8 + known * fields, 7 + count * fields, fields do
    if window == 0 or not seen(ARGV[at + 3]) then
      local due = fields == 4 and ARGV[at + 2] or ''
      if due ~= '' and tonumber(due) > micros then
        delay(due, ARGV[at], ARGV[at + 1])
      else
        last = last + 1
        local data = ARGV[at + 1]
        if id == '' then
          id = first(stamp .. format('%d', last), 'm', ARGV[at], 'd', data)
        else
          id = call('XADD', log, stamp .. format('%d', last), 'm', ARGV[at], 'd', data)
        end
        entries, bytes = entries + 1, bytes + #data
      end
      stored = stored + 1
    end
  end
end
if id ~= '' then
  redis.call('HSET', meta, 'last', last, 'ms', string.format('%.0f', ms), 'entries', entries,
    'bytes', tonumber(m[5]) + bytes)
end
if fresh then redis.call('PEXPIRE', ids, 2 * window) end
if producer ~= '' then
  redis.call('HSET', producers, producer,
    string.format('%.0f:%.0f', tonumber(ARGV[3]) + count - 1, now))
end
return {'stored', stored, id}
