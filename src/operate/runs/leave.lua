#!lua flags=allow-oom
-- Gives a lease back, by whom holds it. Returns 1 if it did.
--
-- KEYS[1] the lease, ARGV[1] what it must say

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
