-- Makes a partition's marker for a generation of its topic. What an older generation
-- left is removed; a log whose marker alone is gone stays. Epochs begin at the time, so
-- that none comes twice, not even after the server has lost everything.
--
-- KEYS: log, meta, producers   ARGV: generation, incarnation, window in milliseconds
local log, meta, producers = KEYS[1], KEYS[2], KEYS[3]
local there = redis.call('HGET', meta, 'generation')
if there and tonumber(there) >= tonumber(ARGV[1]) then return 0 end
local _, micros = clock()
local last, at, entries, length, letters, delayed = 0, 0, 0, 0, 0, 0
if there or redis.call('EXISTS', log) == 0 then
  redis.call('DEL', log, meta, producers, log .. ':groups', log .. ':due', log .. ':later')
else
  local info, id = redis.call('XINFO', 'STREAM', log), ending(log)
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then entries = info[i + 1] end
    if info[i] == 'length' then length = info[i + 1] end
  end
  if id ~= '' then at, last = parts(id) end
  for _, g in ipairs(redis.call('SMEMBERS', log .. ':groups')) do
    local top = redis.call('ZREVRANGE', log .. ':group:' .. g .. ':numbers', 0, 0, 'WITHSCORES')[2]
    letters = math.max(letters, tonumber(top or 0))
  end
  for _, field in ipairs(redis.call('HKEYS', log .. ':later')) do
    delayed = math.max(delayed, tonumber(string.sub(field, 2)))
  end
end
redis.call('HSET', meta, 'generation', ARGV[1], 'incarnation', ARGV[2], 'window', ARGV[3],
  'last', string.format('%.0f', last), 'ms', string.format('%.0f', at), 'entries', entries,
  'removed', string.format('%.0f', math.max(0, last - length)), 'trimmed', entries - length, 'bytes', 0, 'letters', letters,
  'delayed', delayed, 'epoch', string.format('%.0f', micros))
return 1
