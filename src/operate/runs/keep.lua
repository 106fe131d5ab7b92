#!lua flags=allow-oom
-- Writes down how a run stands, by whom works at it.
--
-- KEYS[1] the lease, KEYS[2] the run, KEYS[3] the wish that it ends, KEYS[4] the active run
-- ARGV[1] what the lease must say, ARGV[2] milliseconds for which it is to hold, ARGV[3] what is known
-- of the run, ARGV[4] seconds for which that is kept, ARGV[5] its id
-- Returns 1 if it is to end, 0 if not, -1 if somebody else works at it or it has ended.

if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[4]) ~= ARGV[5] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
return redis.call('EXISTS', KEYS[3])
