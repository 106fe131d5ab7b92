#!lua
-- Moves the oldest entries of a list, all or none: the one place where messages change lists.
--
-- KEYS[1] source, KEYS[2] replay target, KEYS[3] dead list
-- ARGV: for each entry, oldest first: its bytes; the bytes to push ('' = the same); 'r' or 'd'
-- Returns {replayed, dead}, or {-1} when the tail is not what the caller saw.
--
-- Why no message can be lost, doubled or swapped:
--  * Redis runs a script alone and as a whole. A caller that dies, is cut off or waits in vain
--    leaves either all of this done or nothing.
--  * Nothing is written before every entry of the tail has been compared, byte for byte, with what
--    the caller decided upon. Another worker, or an operator's LREM, makes a conflict, not a loss.
--    For the same reason a commit that arrives twice or late does no harm.
--  * A script is not rolled back when a write fails in the middle. So all that could fail is tried
--    first: the types of the three keys here, memory by the '#!lua' header (at maxmemory Redis
--    refuses such a script before it starts). If a write failed all the same, the order (push,
--    then trim) would leave a message in two lists, never in none.
--  * Entries are pushed oldest first to the left, so that readers on the right meet them in order.

for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. key .. ' holds a ' .. kind .. ', expected a list')
  end
end

local count = #ARGV / 3
local tail = redis.call('LRANGE', KEYS[1], -count, -1)
if #tail ~= count then return { -1 } end

local pushes = { r = {}, d = {} }
for i = 1, count do
  local at = i * 3 - 2
  local entry, body = ARGV[at], ARGV[at + 1]
  if tail[count + 1 - i] ~= entry then return { -1 } end
  local push = pushes[ARGV[at + 2]]
  push[#push + 1] = body == '' and entry or body
end

-- unpack fails above some 8,000 values.
local function push_all(key, bodies)
  for first = 1, #bodies, 1000 do
    redis.call('LPUSH', key, unpack(bodies, first, math.min(first + 999, #bodies)))
  end
end
push_all(KEYS[2], pushes.r)
push_all(KEYS[3], pushes.d)
redis.call('LTRIM', KEYS[1], 0, -(count + 1))
return { #pushes.r, #pushes.d }
