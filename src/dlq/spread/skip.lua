#!lua flags=allow-oom
-- Lifts a source's sequence beyond the newest batch that a destination knows, if it is still where
-- the caller saw it. Returns 1 if it did. Runs without memory as well, so that a full source is
-- drained all the same.
--
-- KEYS[1] the source's sequence
-- ARGV[1] where the caller saw it, ARGV[2] the newest batch of the destination

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) + 1))
return 1
