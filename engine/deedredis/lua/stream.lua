-- Appends events to a stream, all of them or nothing, and returns what became of it:
-- {'stored', how many, last id}, or the reason why nothing was.
--
-- KEYS: log, meta, the stream's ids, keys of all streams
-- ARGV: generation, key, version, whether the topic is full. Then for each event:
-- attributes and data.
local log, meta, ids = KEYS[1], KEYS[2], KEYS[3]
local m = redis.call('HMGET', meta, 'generation', 'last', 'ms', 'entries', 'bytes')
if not m[1] then return {'absent'} end
if ARGV[1] ~= m[1] then return {'generation', m[1]} end
local version = redis.call('LLEN', ids)
if version ~= tonumber(ARGV[3]) then return {'conflict', version} end
if ARGV[4] == '1' then return {'full'} end
local last, entries, bytes = tonumber(m[2]), tonumber(m[4]), tonumber(m[5])
if lost(log, last) then return {'lost'} end

local ms, ending = opening(log, math.max((clock()), tonumber(m[3])), last + 1)
if not ms then return redis.error_reply('BARRED by the id ' .. ending) end
local before, id = last, ''
for at = 5, #ARGV, 2 do
  last = last + 1
  id = string.format('%.0f-%.0f', ms, last)
  redis.call('XADD', log, id, 'm', ARGV[at], 'd', ARGV[at + 1])
  redis.call('RPUSH', ids, id)
  bytes = bytes + #ARGV[at + 1]
end
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('HSET', meta, 'last', last, 'ms', string.format('%.0f', ms), 'entries', entries + last - before, 'bytes', bytes)
return {'stored', last - before, id}
