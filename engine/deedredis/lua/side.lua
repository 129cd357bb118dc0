-- The side log of a claim, in keys that begin with the claim's:
--   :letters  hash: by spot, its state (s), attributes (m), data (d), edits (e), failure (f)
--   :spots    all spots in order of run and position, which the spot's text sorts by
--   :order    chain and spot, so that the records of a key lie side by side in order
--   :due      spots that wait for a time, or are redriven, by milliseconds
--   :numbers  spots by the number that administration names them by
-- A state is 'name|aside|edited|number|chain'; the chain is the escaped key, '' for none.

-- read returns the state of a record as a table, nil when there is none.
local function read(claim, spot)
  local s = redis.call('HGET', claim .. ':letters', 's' .. spot)
  if not s then return nil end
  local name, aside, edited, number, chain = string.match(s, '^(%a+)|(%d)|(%d)|(%d+)|(.*)$')
  return {name = name, aside = aside, edited = edited, number = number, chain = chain}
end

-- chained tells whether a record keeps its place among those of its key.
local function chained(r) return r.chain ~= '' and r.aside == '0' end

-- first returns the spot of the first record of a chain, nil when it is empty.
local function first(claim, chain)
  local found = redis.call('ZRANGEBYLEX', claim .. ':order', '[' .. chain, '+', 'LIMIT', 0, 1)[1]
  if found and string.sub(found, 1, #chain) == chain then return string.sub(found, #chain + 1) end
  return nil
end

-- wrote counts a call that changes the side log.
local function wrote(claim) redis.call('HINCRBY', claim, 'writes', 1) end

-- count keeps the claim's numbers of dead and other records.
local function count(claim, name, by)
  redis.call('HINCRBY', claim, name == 'dead' and 'dead' or 'parked', by)
end

-- write stores a record's state; due is when it may be tried, nil for never.
local function write(claim, spot, r, due)
  redis.call('HSET', claim .. ':letters', 's' .. spot,
    table.concat({r.name, r.aside, r.edited, r.number, r.chain}, '|'))
  if due then
    redis.call('ZADD', claim .. ':due', string.format('%.0f', due), spot)
  else
    redis.call('ZREM', claim .. ':due', spot)
  end
end

-- promote lets the first record of a chain go on, if it was held back.
local function promote(claim, chain, ms)
  local spot = first(claim, chain)
  if not spot then return end
  local r = read(claim, spot)
  if r and r.name == 'behind' then
    r.name = 'waiting'
    write(claim, spot, r, ms)
  end
end

-- remove takes a record away and tells whether nothing of its key is left.
local function remove(claim, spot, r, ms)
  redis.call('HDEL', claim .. ':letters', 's' .. spot, 'm' .. spot, 'd' .. spot, 'e' .. spot, 'f' .. spot)
  redis.call('ZREM', claim .. ':spots', spot)
  redis.call('ZREM', claim .. ':due', spot)
  redis.call('ZREM', claim .. ':numbers', spot)
  count(claim, r.name, -1)
  if r.chain == '' then return false end
  redis.call('ZREM', claim .. ':order', r.chain .. spot)
  promote(claim, r.chain, ms)
  return first(claim, r.chain) == nil
end

-- letter returns a record's fields for the caller.
local function letter(claim, spot)
  local l = redis.call('HMGET', claim .. ':letters', 's' .. spot, 'm' .. spot, 'd' .. spot, 'e' .. spot, 'f' .. spot)
  local due = redis.call('ZSCORE', claim .. ':due', spot)
  return {spot, l[1], l[2] or '', l[3] or '', l[4] or '', l[5] or '', due or ''}
end
