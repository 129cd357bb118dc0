-- Where the events of a stream are: log:stream:KEY is a list of their entries' ids, that of
-- version 1 first. The keys that have one are a set, for whoever removes the partition.

-- unstream removes some of a partition's streams and tells whether there are more.
local function unstream(log)
  for _, key in ipairs(redis.call('SPOP', log .. ':streams', 1000)) do
    redis.call('UNLINK', log .. ':stream:' .. key)
  end
  return redis.call('EXISTS', log .. ':streams')
end
