-- How events get into a log: each under the id "ms-n", where n counts the events
-- that deed ever appended to the partition. So a position tells how many went before.

-- lost tells whether a log that had events is gone: somebody deleted it.
local function lost(log, last)
  return last > 0 and redis.call('EXISTS', log) == 0
end

-- opening returns the milliseconds under which the next event n may be appended: now,
-- or later when the clock went back or others have appended. It is nil, and the last id
-- besides, when somebody has added an id that no position follows.
local function opening(log, ms, n)
  local id = ending(log)
  if id == '' then return ms end
  local ems, eseq = parts(id)
  if ems >= 2^53 - 1 then return nil, id end
  if ems > ms or ems == ms and eseq >= n then
    return eseq >= n and ems + 1 or ems
  end
  return ms
end
