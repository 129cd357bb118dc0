-- Adds or replaces records.
--
-- KEYS: claim, meta
-- ARGV: epoch, then for each: spot, state, aside, chain, milliseconds to wait, attributes, data, failure
local claim, meta = KEYS[1], KEYS[2]
if fenced(claim, ARGV[1]) then return 'fenced' end
wrote(claim)
local ms = clock()
for at = 2, #ARGV, 8 do
  local spot, name = ARGV[at], ARGV[at + 1]
  local old = read(claim, spot)
  if not (old and name == 'behind') then -- else it was delivered again: what became of it since stands
    local r = {name = name, aside = ARGV[at + 2], chain = ARGV[at + 3], edited = '0'}
    if old then
      r.number, r.edited = old.number, old.edited
      count(claim, old.name, -1)
      if chained(old) then redis.call('ZREM', claim .. ':order', old.chain .. spot) end
    else
      r.number = string.format('%.0f', redis.call('HINCRBY', meta, 'letters', 1))
      redis.call('ZADD', claim .. ':numbers', r.number, spot)
      redis.call('ZADD', claim .. ':spots', 0, spot)
    end
    redis.call('HSET', claim .. ':letters', 'f' .. spot, ARGV[at + 7])
    if r.edited == '0' then -- a copy from the log would undo an edit
      redis.call('HSET', claim .. ':letters', 'm' .. spot, ARGV[at + 5], 'd' .. spot, ARGV[at + 6])
    end
    local due = ms + tonumber(ARGV[at + 4])
    if chained(r) then redis.call('ZADD', claim .. ':order', 0, r.chain .. spot) end
    if r.name == 'behind' and (not chained(r) or first(claim, r.chain) == spot) then
      r.name, due = 'waiting', ms
    end
    count(claim, r.name, 1)
    write(claim, spot, r, (r.name == 'waiting' or r.name == 'redriven') and due or nil)
    if r.chain ~= '' and not chained(r) then promote(claim, r.chain, ms) end
  end
end
return 'ok'
