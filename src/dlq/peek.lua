#!lua flags=no-writes
-- Returns the length of a list and a piece of its right end, oldest first, without the ARGV[1]
-- entries that are known already: at most ARGV[2] entries and ARGV[3] bytes, and if ARGV[4] is 1 at
-- least one entry, however large.
--
-- LRANGE is not bounded by bytes: five hundred messages of 5 MiB would stall Redis and fill the
-- reader's memory. Nothing tells the size of an entry but the entry itself, so they are read one
-- by one, and at most one is read in vain.

local call = redis.call
local source = KEYS[1]
local kind = call('TYPE', source).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. source .. ' holds a ' .. kind .. ', expected a list')
end

local known, left = tonumber(ARGV[1]), tonumber(ARGV[3])
local answer = { call('LLEN', source) }
local alone = ARGV[4] == '1'
for i = 1, math.min(tonumber(ARGV[2]), answer[1] - known) do
  local entry = call('LINDEX', source, -(known + i))
  left = left - #entry
  if left < 0 and not (alone and i == 1) then break end
  answer[i + 1] = entry
end
return answer
