#!lua flags=allow-oom
-- Writes the record of a batch once more as it is, so that this connection's WAIT has something to
-- wait for. Returns 1, or 0 if there is no such record (a failover may just have lost it, together
-- with what was pushed). It needs no memory, so that a batch which has filled the destination can be
-- ended.
--
-- KEYS[1] records of batches
-- ARGV[1] number of the batch

local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], known)
return 1
