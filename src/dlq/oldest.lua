#!lua flags=no-writes
-- Returns the length of a list and its oldest entry, or nothing of an entry above ARGV[1] bytes:
-- whoever only looks at its age does not need megabytes for it.

local source = KEYS[1]
local kind = redis.call('TYPE', source).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. source .. ' holds a ' .. kind .. ', expected a list')
end
local entry = redis.call('LINDEX', source, -1)
if not entry or #entry > tonumber(ARGV[1]) then
  return { redis.call('LLEN', source) }
end
return { redis.call('LLEN', source), entry }
