#!lua flags=no-writes
-- Returns a piece of the left end of a list, youngest first: ARGV[2] entries from position ARGV[1]
-- on, of each at most ARGV[3] bytes, so that a giant does not travel for its stamp's sake.

local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. KEYS[1] .. ' holds a ' .. kind .. ', expected a list')
end
local from, most = tonumber(ARGV[1]), tonumber(ARGV[3])
local answer = {}
for i = 1, tonumber(ARGV[2]) do
  local entry = redis.call('LINDEX', KEYS[1], from + i - 1)
  if not entry then break end
  answer[i] = #entry > most and entry:sub(1, most) or entry
end
return answer
