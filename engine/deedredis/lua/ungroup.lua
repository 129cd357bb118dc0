-- Removes a group's record, and notes in the topic's that somebody wanted that.
--
-- KEYS: topic, groups, group, seats   ARGV: name, field of the note
redis.call('UNLINK', KEYS[3], KEYS[4])
redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[2], 1) end
return 1
