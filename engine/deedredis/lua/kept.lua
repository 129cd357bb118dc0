-- Tells whether a server that was away still has what a member saw: its claim, the
-- progress that it stored, and the event that it has read the log to. 'kept' or 'lost'.
--
-- KEYS: claim, log   ARGV: seat, epoch and writes, position stored last, position read to
local claim, log = KEYS[1], KEYS[2]
local c = redis.call('HMGET', claim, 'seat', 'position')
if fenced(claim, ARGV[2]) or c[1] ~= ARGV[1] or after(ARGV[3], c[2]) then return 'lost' end
local at = ARGV[4]
if at == '' then return 'kept' end
if redis.call('EXISTS', log) == 0 then return 'lost' end
local behind = redis.call('XRANGE', log, at, '+', 'COUNT', 1)[1]
if behind then
  local ms, seq = parts(at)
  local ems, eseq = parts(behind[1])
  if ems == ms and eseq - held(behind[2]) < seq then return 'kept' end -- it, or the pack that it is in
end
local before = redis.call('XREVRANGE', log, '(' .. at, '-', 'COUNT', 1)[1]
if before or after(at, ending(log)) then return 'lost' end
return 'kept' -- trimmed, with all before it
