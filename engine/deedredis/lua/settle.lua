-- Stores the progress of a claim, fenced by its epoch, and moves the native group
-- along, for XINFO GROUPS and every tool that reads it.
--
-- KEYS: claim, log, meta
-- ARGV: seat, epoch and writes, position, rate, status, whether to release, group, position stored before
local claim, log, meta = KEYS[1], KEYS[2], KEYS[3]
local c = redis.call('HMGET', claim, 'epoch', 'seat', 'position', 'committed')
if not c[1] then return 'gone' end
if fenced(claim, ARGV[2]) or c[2] ~= ARGV[1] then return 'lost' end
if after(ARGV[8], c[3]) then return 'lost' end -- progress that was stored is not there any more
local position = ARGV[3]
if after(position, c[3]) then
  local m = redis.call('HMGET', meta, 'ms', 'last', 'entries')
  if after(position, m[1] .. '-' .. m[2]) and after(position, ending(log)) then return 'beyond' end
  redis.call('HSET', claim, 'position', position)
  if after(position, c[4]) then redis.call('HSET', claim, 'committed', position) end
  for _, at in ipairs(redis.call('HKEYS', claim .. ':marks')) do
    if not after(at, position) then redis.call('HDEL', claim .. ':marks', at) end
  end
  local _, seq = parts(position)
  local done
  if m[2] == m[3] then -- an entry for each event: the id tells how many were read
    done = redis.pcall('XGROUP', 'SETID', log, ARGV[7], position, 'ENTRIESREAD', seq)
  else
    done = redis.pcall('XGROUP', 'SETID', log, ARGV[7], position)
  end
  if done.err then redis.pcall('XGROUP', 'CREATE', log, ARGV[7], position) end
end
if ARGV[6] == '1' then
  redis.call('HSET', claim, 'seat', '', 'clean', 1, 'rate', 0, 'status', '')
else
  redis.call('HSET', claim, 'rate', ARGV[4], 'status', ARGV[5])
end
return 'ok'
