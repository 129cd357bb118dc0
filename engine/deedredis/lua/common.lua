-- What the scripts share. Every key of a partition has the log's name as a prefix,
-- and with it the hash tag, so that all of them lie in one slot.

-- clock returns the server's time in milliseconds and in microseconds.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
end

-- advance returns the partition's next epoch. It is the time in microseconds where that
-- is more, so that a server which has lost an epoch gives another one. (In milliseconds
-- a topic could be made anew before the epochs of the old one have passed.)
local function advance(meta)
  local _, micros = clock()
  local epoch = math.max(tonumber(redis.call('HGET', meta, 'epoch')) + 1, micros)
  epoch = string.format('%.0f', epoch)
  redis.call('HSET', meta, 'epoch', epoch)
  return epoch
end

-- parts reads an entry's id.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

-- after tells whether position a is behind position b; '' is the beginning.
local function after(a, b)
  if a == '' then return false end
  if b == '' then return true end
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams > bms or ams == bms and aseq > bseq
end

-- fenced tells whether a claim is another member's by now, or nobody's, or is not what its
-- owner left: it says under which epoch it has written to the side log, and how often.
local function fenced(claim, by)
  local epoch, writes = string.match(by, '^(%d+):(%d+)$')
  local c = redis.call('HMGET', claim, 'epoch', 'writes')
  return c[1] ~= epoch or tonumber(c[2] or 0) < tonumber(writes)
end

-- ending returns the last id that the log ever had, '' when it never had one.
local function ending(log)
  if redis.call('EXISTS', log) == 0 then return '' end
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1] == '0-0' and '' or info[i + 1]
    end
  end
end

-- held returns how many events an entry holds: its third field, if it has one,
-- says the sizes of those that are packed in it.
local function held(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'l' then
      local _, commas = string.gsub(fields[i + 1], ',', '')
      return commas + 1
    end
  end
  return 1
end

-- weigh returns the bytes of an entry's data.
local function weigh(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'd' then return #fields[i + 1] end
  end
  return 0
end
