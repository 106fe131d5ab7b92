#!lua flags=allow-oom
-- A write of this connection's own that leaves the list as it is, for its WAIT to wait for: on later
-- servers than Redis 7.0 that covers what the connection itself has written, and all before it.
--
-- KEYS[1] a list that exists
--
-- Nobody sees the element that comes and goes: a script is one step to clients, replicas and the
-- log on disk. The trim that trims nothing fails, if it must, before there is anything to trim. It
-- takes no memory that it does not give back.

local source = KEYS[1]
local kind = redis.call('TYPE', source).ok
if kind == 'none' then return 0 end
if kind ~= 'list' then
  return redis.error_reply('WRONGTYPE key ' .. source .. ' holds a ' .. kind .. ', expected a list')
end
redis.call('LTRIM', source, 0, -1)
redis.call('LPUSH', source, '')
redis.call('LTRIM', source, 1, -1)
return 1
