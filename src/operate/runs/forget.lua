#!lua flags=allow-oom
-- Frees a list from a run of which nothing is known any more, unless somebody works at it.
--
-- KEYS[1] the active run, KEYS[2] the run, KEYS[3] the lease, KEYS[4] the audit, if one is kept
-- ARGV[1] its id, ARGV[2] 1 if it may go although something is written down of it,
-- ARGV[3] how many entries the audit holds; ARGV from 4 the entry that it is to get: names and values
-- Returns 1 if it did.

if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
if ARGV[2] ~= '1' and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if KEYS[4] then redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4)) end
return redis.call('DEL', KEYS[1])
