#!lua flags=no-writes
-- Returns the length of a list and its right end, oldest first: at most ARGV[1] entries, and no
-- more than ARGV[2] bytes beyond the first of them.
--
-- LRANGE alone is not bounded by bytes: five hundred messages of 5 MiB would stall Redis and fill
-- the reader's memory. So the tail is read in steps. A step doubles while entries are small and
-- never asks for more than the rest of the budget would hold of the largest entry seen.

local source = KEYS[1]
local max_entries, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])

local kind = redis.call('TYPE', source).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. source .. ' holds a ' .. kind .. ', expected a list')
end

local answer = { redis.call('LLEN', source) }
local taken, bytes, largest, step = 0, 0, 1, 1
while taken < max_entries do
  local room = math.floor((max_bytes - bytes) / largest)
  local want = math.max(1, math.min(step, max_entries - taken, room))
  local part = redis.call('LRANGE', source, -(taken + want), -(taken + 1))
  for i = #part, 1, -1 do
    bytes = bytes + #part[i]
    if taken > 0 and bytes > max_bytes then return answer end
    taken = taken + 1
    answer[taken + 1] = part[i]
    largest = math.max(largest, #part[i])
  end
  if #part < want then break end
  step = math.min(step * 2, 32)
end
return answer
