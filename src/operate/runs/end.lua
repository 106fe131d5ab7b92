#!lua flags=allow-oom
-- Ends a run, by whom works at it.
--
-- KEYS[1] the lease, KEYS[2] the run, KEYS[3] the wish that it ends, KEYS[4] the active run,
-- KEYS[5] the audit, if one is kept
-- ARGV[1] what the lease must say, ARGV[2] what is known of the run, ARGV[3] seconds for which that is
-- kept, ARGV[4] its id, ARGV[5] how many entries the audit holds; ARGV from 6 the entry that it is to
-- get: names and values
-- Returns 1, or 0 if somebody else works at it or it has ended.

if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[4]) ~= ARGV[4] then return 0 end
if KEYS[5] then redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', unpack(ARGV, 6)) end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
return 1
