#!lua
-- Moves the oldest messages of the ingest queue to the alerter's dead letter list, as long as they
-- are among those that the caller has stamped.
--
-- KEYS[1] ingest queue, KEYS[2] the alerter's dead letter list
-- ARGV[1] how many messages stay in the ingest queue at least
-- ARGV from 2: for each message that the caller has read, its SHA-1, the number of changes, and for
--              each change the offsets of the first byte that goes and of the first that stays, and
--              the text that comes in between
-- Returns how many were moved.
--
-- Alerters take from the same end all the time, so the messages there are seldom just those that
-- the caller has read; but they are younger ones of them. Each is known by its digest, and where it
-- lies does not matter for its stamp. The first that is not known ends the move.
--
-- Why no message can be lost, doubled or swapped:
--  * Redis runs a script alone and as a whole. A caller that dies, is cut off or waits in vain
--    leaves either all of this done or nothing. A script that arrives twice or late moves only
--    what is still there, and never more than leaves ARGV[1] behind: neither do two guards at once.
--  * A script is not rolled back when a write fails in the middle. So all that could fail is tried
--    first: the types of the keys and the user's permissions here, memory, replicas and disk by the
--    '#!lua' header (Redis refuses such a script before it starts). If a write failed all the same,
--    the order (push, then trim) would leave a message in two lists, never in none.
--  * They are pushed oldest first to the left, so that readers on the right meet them in order.

local call = redis.call

for _, key in ipairs(KEYS) do
  local kind = call('TYPE', key).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. key .. ' holds a ' .. kind .. ', expected a list')
  end
end

for index, command in ipairs({ 'ltrim', 'lpush' }) do
  if not redis.acl_check_cmd(command, KEYS[index], '0', '-1') then
    return redis.error_reply('NOPERM this user may not ' .. command .. ' ' .. KEYS[index])
  end
end

local known, at = {}, 2
while at <= #ARGV do
  local digest, changes = ARGV[at], tonumber(ARGV[at + 1])
  local stamp = known[digest] or { left = 0, first = at + 2, changes = changes }
  stamp.left = stamp.left + 1
  known[digest] = stamp
  at = at + 2 + changes * 3
end

local function stamped(message, stamp)
  if stamp.changes == 0 then return message end
  local pieces, from = {}, 0
  for i = stamp.first, stamp.first + stamp.changes * 3 - 1, 3 do
    pieces[#pieces + 1] = message:sub(from + 1, tonumber(ARGV[i]))
    pieces[#pieces + 1] = ARGV[i + 2]
    from = tonumber(ARGV[i + 1])
  end
  pieces[#pieces + 1] = message:sub(from + 1)
  return table.concat(pieces)
end

local bodies = {}
local overflow = call('LLEN', KEYS[1]) - tonumber(ARGV[1])
while #bodies < overflow do
  local message = call('LINDEX', KEYS[1], -(#bodies + 1))
  local stamp = known[redis.sha1hex(message)]
  -- As often as it was read: the bytes of a step are bounded by what was read.
  if not stamp or stamp.left == 0 then break end
  stamp.left = stamp.left - 1
  bodies[#bodies + 1] = stamped(message, stamp)
end
if #bodies == 0 then return 0 end

-- unpack fails above some 8,000 values.
for first = 1, #bodies, 1000 do
  call('LPUSH', KEYS[2], unpack(bodies, first, math.min(first + 999, #bodies)))
end
call('LTRIM', KEYS[1], 0, -(#bodies + 1))
return #bodies
