-- Reads events of a stream: {0, entries}, or {version} of the first one that is not in the
-- log any more.
--
-- KEYS: log, the stream's ids   ARGV: after version, how many at most
local after, entries = tonumber(ARGV[1]), {}
for i, id in ipairs(redis.call('LRANGE', KEYS[2], after, after + tonumber(ARGV[2]) - 1)) do
  entries[i] = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entries[i] then return {after + i} end
end
return {0, entries}
