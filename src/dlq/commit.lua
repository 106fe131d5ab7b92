#!lua
-- Moves the oldest entries of a list, all or none, after comparing them. Where the source could be
-- watched since before they were read, settle.lua moves them instead.
--
-- KEYS[1] source, KEYS[2] replay target, KEYS[3] dead list; behind them the audit, if one is kept, and
-- the lease under which it is done, if ARGV[6] says one
-- ARGV[1] how the tail is compared with what the caller decided upon:
--         'compare': each entry follows, and is compared byte for byte;
--         'digest': the one entry is so large that it had better not travel again
-- ARGV[2] one letter an entry, oldest first: 'r' for the replay target, 'd' for the dead list, 'p' for
--         nowhere
-- ARGV[3] the depth above which KEYS[2] must not be lifted; 0 = none
-- ARGV[4] how many entries the audit holds
-- ARGV[5] how many entries are to stay in the source at least
-- ARGV[6] what the lease must say; '' = there is none
-- ARGV[7] how many arguments of the audit follow: for each entry that it is to get, how many names and
--         values there are, and these
-- Behind them: 'compare': for each entry its bytes, and the bytes to push ('' = the same);
--              'digest': the SHA-1 of the entry, then for each change of it the offsets of the first
--              byte that goes and of the first that stays, and the text that comes in between
-- Returns {replayed, dead, began}, or {-1} when the tail is not what the caller saw, too few would
-- stay or the lease is somebody else's, or {-2} when KEYS[2] would be lifted too high. `began` is the
-- time in microseconds, to whoever may ask for it; from Redis 7.2 on it stands still in a script.
--
-- A batch of which all goes nowhere is moved by the same text under '#!lua flags=allow-oom': it makes
-- room, which is what a server at maxmemory needs, and all that it writes is its entry in the audit,
-- whose length is bounded.
--
-- Why no message can be lost, doubled or swapped:
--  * Redis runs a script alone and as a whole. A caller that dies, is cut off or waits in vain
--    leaves either all of this done or nothing.
--  * Nothing is written unless the tail is what the caller decided upon. Another worker, or an
--    operator's LREM, makes a conflict, not a loss. For the same reason a commit that arrives
--    twice or late does no harm.
--  * A script is not rolled back when a write fails in the middle. So all that could fail is tried
--    first: the types of the three keys and the user's permissions here, memory, replicas and disk
--    by the '#!lua' header (Redis refuses such a script before it starts). If a write failed all
--    the same, the order (push, then trim) would leave a message in two lists, never in none.
--  * What cannot be told to the audit is not done: it is written first.
--  * Entries are pushed oldest first to the left, so that readers on the right meet them in order.

-- A server that does not know the command raises.
local known, may = pcall(redis.acl_check_cmd, 'time')
local began = known and may and redis.call('TIME')

for _, key in ipairs({ KEYS[1], KEYS[2], KEYS[3] }) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. key .. ' holds a ' .. kind .. ', expected a list')
  end
end

for index, command in ipairs({ 'ltrim', 'lpush', 'lpush' }) do
  if not redis.acl_check_cmd(command, KEYS[index], '0', '-1') then
    return redis.error_reply('NOPERM this user may not ' .. command .. ' ' .. KEYS[index])
  end
end

local lease = ARGV[6] ~= '' and KEYS[#KEYS]
local audit = KEYS[4] ~= lease and KEYS[4]
if audit then
  local kind = redis.call('TYPE', audit).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. audit .. ' holds a ' .. kind .. ', expected a stream')
  end
  if not redis.acl_check_cmd('xadd', audit, '*', 'a', 'b') then
    return redis.error_reply('NOPERM this user may not xadd ' .. audit)
  end
end

local flags = ARGV[2]
local count = #flags
-- The last argument before the entries.
local before = 7 + tonumber(ARGV[7])
if lease and redis.call('GET', lease) ~= ARGV[6] then return { -1 } end
if redis.call('LLEN', KEYS[1]) - count < tonumber(ARGV[5]) then return { -1 } end

local replays, dead = {}, {}
local function plan(i, body)
  local letter = flags:sub(i, i)
  if letter == 'p' then return end
  local push = letter == 'r' and replays or dead
  push[#push + 1] = body
end

-- Strings are what costs time here: each entry that becomes one in this script is hashed whole.
if ARGV[1] == 'digest' then
  local entry = redis.call('LINDEX', KEYS[1], -1)
  if not entry or redis.sha1hex(entry) ~= ARGV[before + 1] then return { -1 } end
  local pieces, at = {}, 0
  for i = before + 2, #ARGV, 3 do
    pieces[#pieces + 1] = entry:sub(at + 1, tonumber(ARGV[i]))
    pieces[#pieces + 1] = ARGV[i + 2]
    at = tonumber(ARGV[i + 1])
  end
  pieces[#pieces + 1] = at > 0 and entry:sub(at + 1) or entry
  plan(1, table.concat(pieces))
else
  local tail = redis.call('LRANGE', KEYS[1], -count, -1)
  if #tail ~= count then return { -1 } end
  for i = 1, count do
    local entry, body = ARGV[before + i * 2 - 1], ARGV[before + i * 2]
    if tail[count + 1 - i] ~= entry then return { -1 } end
    plan(i, body == '' and entry or body)
  end
end

local ceiling = tonumber(ARGV[3])
if ceiling > 0 and #replays > 0 and redis.call('LLEN', KEYS[2]) + #replays > ceiling then
  return { -2 }
end

local at = 8
while audit and at <= before do
  local last = at + tonumber(ARGV[at])
  redis.call('XADD', audit, 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, at + 1, last))
  at = last + 1
end

-- unpack fails above some 8,000 values.
local function push_all(key, bodies)
  for first = 1, #bodies, 1000 do
    redis.call('LPUSH', key, unpack(bodies, first, math.min(first + 999, #bodies)))
  end
end
push_all(KEYS[2], replays)
push_all(KEYS[3], dead)
redis.call('LTRIM', KEYS[1], 0, -(count + 1))
return { #replays, #dead, began and began[1] * 1000000 + began[2] or nil }
