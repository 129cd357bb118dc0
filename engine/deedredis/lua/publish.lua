-- Appends batches, each wholly or not at all, and returns what became of each: {'stored',
-- how many, last id}, or the reason why nothing was.
--
-- KEYS: of each batch its log, meta and producers
-- ARGV: of each batch how many arguments it has, generation, producer, sequence, events,
-- form, whether the topic is full, and the events by their form. 'plain': attributes and
-- data of each. 'whole': also when each is due in microseconds ('' for now), and its
-- identity. 'packed': sizes of the data, attributes, data and how many events, of each pack.
local call, try, format, match = redis.call, redis.pcall, string.format, string.match
local now, micros = clock()

-- add puts the first entry of a batch under ms-n and returns the milliseconds it got, false
-- when the log is gone. Nearly always that id is above all others: asking costs more than
-- trying, so the log's end is looked at when it is not. (`%d` costs a third of `%.0f`.)
local function add(log, ms, n, had, ...)
  local done
  if had then
    done = try('XADD', log, 'NOMKSTREAM', format('%d-%d', ms, n), ...)
    if not done then return false end
  else
    done = try('XADD', log, format('%d-%d', ms, n), ...)
  end
  if done.err then
    local open, ending = opening(log, ms, n)
    if not open then error(redis.error_reply('BARRED by the id ' .. ending)) end
    ms = open
    call('XADD', log, format('%d-%d', ms, n), ...)
  end
  return ms
end

-- Each of the following appends the events at ARGV[from] to ARGV[to], and returns how many
-- were accepted, entries added, events added, their bytes, and the milliseconds they are under.

-- plain leaves counting to the server from the second event on.
local function plain(log, last, ms, from, to)
  local bytes = #ARGV[from + 1]
  ms = add(log, ms, last + 1, last > 0, 'm', ARGV[from], 'd', ARGV[from + 1])
  if not ms then return false end
  local auto = format('%d-*', ms)
  for at = from + 2, to, 2 do
    local data = ARGV[at + 1]
    call('XADD', log, auto, 'm', ARGV[at], 'd', data)
    bytes = bytes + #data
  end
  local n = (to - from + 1) / 2
  return n, n, n, bytes, ms
end

local function packed(log, last, ms, from, to)
  local had, n, bytes = last > 0, 0, 0
  for at = from, to, 4 do
    n, bytes = n + tonumber(ARGV[at + 3]), bytes + #ARGV[at + 2]
    ms = add(log, ms, last + n, had, 'm', ARGV[at + 1], 'd', ARGV[at + 2], 'l', ARGV[at])
    if not ms then return false end
    had = true
  end
  return n, (to - from + 1) / 4, n, bytes, ms
end

-- delay keeps an event until it is due.
local function delay(log, meta, due, attributes, data)
  local n = format('%015.0f', call('HINCRBY', meta, 'delayed', 1))
  call('HSET', log .. ':later', 'm' .. n, attributes, 'd' .. n, data)
  call('ZADD', log .. ':due', due, n)
end

local function whole(log, last, ms, from, to, meta, window)
  if lost(log, last) then return false end
  local ids, older, fresh
  if window > 0 then
    local turn = math.floor(ms / window)
    ids, older = log .. ':ids:' .. turn, log .. ':ids:' .. (turn - 1)
    if call('EXISTS', older) == 0 then older = nil end
  end
  -- seen tells whether an identity was stored within the window, and notes it if not.
  -- What this turn of the window knows is younger than the window.
  local at = format('%d-', ms)
  local function seen(identity)
    local before = older and call('HGET', older, identity)
    if before and ms - tonumber(match(before, '^%d+')) < window then return true end
    if call('HSETNX', ids, identity, at) == 0 then return true end
    fresh = identity
    return false
  end
  local stored, n, bytes = 0, 0, 0
  for at = from, to, 4 do
    if window == 0 or not seen(ARGV[at + 3]) then
      local data, due = ARGV[at + 1], ARGV[at + 2]
      if due ~= '' and tonumber(due) > micros then
        delay(log, meta, due, ARGV[at], data)
      else
        n, bytes = n + 1, bytes + #data
        local ok, got = pcall(add, log, ms, last + n, false, 'm', ARGV[at], 'd', data)
        if not ok then
          if fresh then call('HDEL', ids, fresh) end -- it is not stored
          error(got)
        end
        ms = got
      end
      stored = stored + 1
    end
  end
  if fresh then call('PEXPIRE', ids, 2 * window) end
  return stored, n, n, bytes, ms
end

-- append does one batch, whose keys end at KEYS[k] and whose arguments begin at ARGV[a].
local function append(k, a)
  local log, meta, producers = KEYS[k - 2], KEYS[k - 1], KEYS[k]
  local producer, seq, count, form = ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]), ARGV[a + 5]
  local m = call('HMGET', meta, 'generation', 'last', 'ms', 'entries', 'bytes', 'window')
  if not m[1] then return {'absent'} end
  if ARGV[a + 1] ~= '0' and ARGV[a + 1] ~= m[1] then return {'generation', m[1]} end

  local known = 0
  if producer ~= '' then
    local before = call('HGET', producers, producer)
    before = before and tonumber(match(before, '^%d+')) or 0
    seq = tonumber(seq)
    if seq > before + 1 then return {'gap', before} end
    known = math.min(before + 1 - seq, count)
  end
  if known == count then return {'stored', 0, ''} end
  local window = tonumber(m[6])
  if window > 0 and form ~= 'whole' then return {'window', window} end
  if ARGV[a + 6] == '1' then return {'full'} end
  if form == 'packed' and known > 0 then return {'known', known} end

  local from, to = a + 7, a + ARGV[a] - 1
  local last, ms = tonumber(m[2]), math.max(now, tonumber(m[3]))
  local stored, entries, events, bytes
  if form == 'plain' then
    stored, entries, events, bytes, ms = plain(log, last, ms, from + 2 * known, to)
  elseif form == 'packed' then
    stored, entries, events, bytes, ms = packed(log, last, ms, from, to)
  else
    stored, entries, events, bytes, ms = whole(log, last, ms, from + 4 * known, to, meta, window)
  end
  if not stored then return {'lost'} end
  local id = ''
  if events > 0 then
    last = format('%d', last + events)
    id = format('%d-%s', ms, last)
    call('HSET', meta, 'last', last, 'ms', format('%d', ms), 'entries', format('%d', m[4] + entries),
      'bytes', format('%d', m[5] + bytes))
  end
  if producer ~= '' then
    call('HSET', producers, producer, format('%d:%d', seq + count - 1, now))
  end
  return {'stored', stored, id}
end

local results, at = {}, 1
for k = 3, #KEYS, 3 do
  local ok, result = pcall(append, k, at)
  if not ok then
    local text = type(result) == 'table' and result.err or 'ERR ' .. tostring(result)
    result = {err = match(text, 'BARRED.*') or text}
  end
  results[#results + 1] = result
  at = at + ARGV[at]
end
return results
