#!lua flags=no-writes
-- Returns the length of a list and its right end, oldest first: at most ARGV[1] entries, and no
-- more than ARGV[2] bytes beyond the first of them.
--
-- LRANGE is not bounded by bytes: five hundred messages of 5 MiB would stall Redis and fill the
-- reader's memory. Nothing tells the size of an entry but the entry itself, so they are read one
-- by one, and at most one is read in vain.

local source = KEYS[1]
local max_entries, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])

local kind = redis.call('TYPE', source).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. source .. ' holds a ' .. kind .. ', expected a list')
end

local answer = { redis.call('LLEN', source) }
local bytes = 0
for i = 1, math.min(max_entries, answer[1]) do
  local entry = redis.call('LINDEX', source, -i)
  bytes = bytes + #entry
  if i > 1 and bytes > max_bytes then break end
  answer[i + 1] = entry
end
return answer
