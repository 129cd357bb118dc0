-- Removes entries from the front of a log that are past their time: older than keep and
-- handled by every group, or older than hold. The last stays. It returns how many
-- events went, and whether there may be more.
--
-- KEYS: log, meta, producers   ARGV: keep, hold in milliseconds (0 for ever), entries at most, idle producers
local log, meta = KEYS[1], KEYS[2]
local keep, hold, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local m = redis.call('HMGET', meta, 'last', 'entries', 'removed', 'trimmed', 'bytes')
if not m[1] then return {0, 0} end
local ms = clock()
if redis.call('HLEN', KEYS[3]) > 256 then
  local all = redis.call('HGETALL', KEYS[3])
  for i = 1, #all, 2 do
    if ms - tonumber(string.match(all[i + 1], ':(%d+)$')) > tonumber(ARGV[4]) then
      redis.call('HDEL', KEYS[3], all[i])
    end
  end
end

-- old tells whether an entry is old enough to go.
local function old(id)
  local at = parts(id)
  return ms - at > keep
end

local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
if not first[1] or not old(first[1][1]) then return {0, 0} end
local groups = redis.call('SMEMBERS', log .. ':groups')
local positions, handled = {}, nil
for i, g in ipairs(groups) do
  positions[i] = redis.call('HGET', log .. ':group:' .. g, 'position') or ''
  if not handled or after(handled, positions[i]) then handled = positions[i] end
end

local list = redis.call('XRANGE', log, '-', '+', 'COUNT', step + 1)
local events, bytes, n, drop = 0, 0, 0, false
for i = 1, #list - 1 do
  local id, fields = list[i][1], list[i][2]
  if not old(id) then break end
  if handled and after(id, handled) then
    local at = parts(id)
    if hold == 0 or ms - at <= hold then break end
    drop = true
  end
  n, events, bytes = i, events + held(fields), bytes + weigh(fields)
end
if n == 0 then return {0, 0} end

-- Groups that have not handled what goes are moved past it. What they have neither
-- handled nor parked counts as dropped.
if drop then
  local to = list[n][1]
  for i, g in ipairs(groups) do
    if after(to, positions[i]) then
      local claim = log .. ':group:' .. g
      local run = tonumber(redis.call('HGET', claim, 'run'))
      local lostEvents = 0
      for k = 1, n do
        local idms, idseq = parts(list[k][1])
        local size = held(list[k][2])
        for n = size - 1, 0, -1 do
          local seq = idseq - n
          if after(string.format('%.0f-%.0f', idms, seq), positions[i])
            and redis.call('ZSCORE', claim .. ':spots', string.format('%06d.%015.0f-%015.0f', run, idms, seq)) == false then
            lostEvents = lostEvents + 1
          end
        end
      end
      redis.call('HSET', claim, 'position', to)
      redis.call('HINCRBY', claim, 'dropped', lostEvents)
    end
  end
end
redis.call('XTRIM', log, 'MINID', '=', list[n + 1][1])
redis.call('HSET', meta, 'removed', tonumber(m[3]) + events, 'trimmed', tonumber(m[4]) + n,
  'bytes', tonumber(m[5]) - bytes)
return {events, n == step and 1 or 0}
