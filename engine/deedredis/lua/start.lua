-- Makes a group's claim on a partition, unless it is there, or sets it back.
-- It returns 'ok', 'absent', or 'beyond' with the log's end.
--
-- KEYS: log, meta
-- ARGV: group, where to start ('first', 'end', 'time', 'position'), milliseconds or position,
-- then for a reset: the run, whether it is quiet
local log, meta, claim = KEYS[1], KEYS[2], KEYS[1] .. ':group:' .. ARGV[1]
if redis.call('EXISTS', meta) == 0 then return {'absent'} end
local anew = not ARGV[4]
if anew and redis.call('EXISTS', claim) == 1 then return {'ok'} end

local position = ''
if ARGV[2] == 'end' then
  position = reach(log, ending(log))
elseif ARGV[2] == 'time' then
  local before = redis.call('XREVRANGE', log, '(' .. ARGV[3] .. '-0', '-', 'COUNT', 1)
  if before[1] then position = reach(log, before[1][1]) end
elseif ARGV[2] == 'position' then
  position = ARGV[3]
  local e = ending(log)
  if after(position, e) then return {'beyond', e} end
end

if anew then
  redis.call('HSET', claim, 'epoch', redis.call('HGET', meta, 'epoch'), 'seat', '', 'clean', 1,
    'position', position, 'committed', '', 'replay', '', 'run', 0, 'quiet', 0, 'rate', 0, 'status', '',
    'dropped', 0, 'dead', 0, 'parked', 0)
  redis.call('SADD', log .. ':groups', ARGV[1])
else
  if redis.call('EXISTS', claim) == 0 then return {'absent'} end
  redis.call('HSET', claim, 'epoch', advance(meta), 'seat', '', 'clean', 1,
    'position', position, 'replay', redis.call('HGET', claim, 'committed'), 'run', ARGV[4], 'quiet', ARGV[5],
    'rate', 0, 'status', '')
  redis.call('DEL', claim .. ':marks')
end
local at = position == '' and '0-0' or position
local made = redis.pcall('XGROUP', 'CREATE', log, ARGV[1], at)
if made.err then redis.pcall('XGROUP', 'SETID', log, ARGV[1], at) end
return {'ok'}
