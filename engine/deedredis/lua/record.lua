-- Replaces a record, or deletes it when no data is given: {'ok', new version}, or
-- {'conflict', version} when it is at another version than was thought. Versions are the
-- time in milliseconds, or more, so that none comes twice on a server that lost the last.
--
-- KEYS: records, their names   ARGV: name, version, data
local there = redis.call('HGET', KEYS[1], ARGV[1])
local version = there and string.match(there, '^%d+') or '0'
if version ~= ARGV[2] then return {'conflict', version} end
if not ARGV[3] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'ok', version}
end
local last = tonumber(redis.call('HGET', KEYS[1], '') or 0) -- no record has this name
version = string.format('%.0f', math.max(last + 1, (clock())))
redis.call('HSET', KEYS[1], '', version, ARGV[1], version .. ':' .. ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return {'ok', version}
