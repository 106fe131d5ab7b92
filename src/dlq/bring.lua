#!lua flags=allow-oom
-- Brings entries of a list to its old end, all or none, so that a peek finds them there. No entry
-- leaves the list: each trades places with one that was older.
--
-- KEYS[1] the list
-- ARGV[1] how many were brought there just before, which these come behind
-- ARGV from 2 in pairs: the place of an entry, counted from the oldest, which is 0, in rising order,
-- and its SHA-1
-- Returns 1, or 0 if one of them is not in its place; nothing is changed then.
--
-- Why no message can be lost: Redis runs a script alone and as a whole, and within it an entry is
-- written to its new place before its old one is overwritten. What could fail is tried first.
--
-- It runs without memory as well, or nobody could throw away what lies in the middle of a list: it
-- takes that of one entry, and gives it back.

local list = KEYS[1]
local kind = redis.call('TYPE', list).ok
if kind == 'none' then return 0 end
if kind ~= 'list' then
  return redis.error_reply('WRONGTYPE key ' .. list .. ' holds a ' .. kind .. ', expected a list')
end
for _, needed in ipairs({ { 'lset', list, '0', '' }, { 'rpush', list, '' }, { 'rpop', list } }) do
  if not redis.acl_check_cmd(unpack(needed)) then
    return redis.error_reply('NOPERM this user may not ' .. needed[1] .. ' ' .. list)
  end
end

local behind, entries = tonumber(ARGV[1]), {}
for i = 2, #ARGV, 2 do
  local entry = redis.call('LINDEX', list, -(tonumber(ARGV[i]) + 1))
  if not entry or redis.sha1hex(entry) ~= ARGV[i + 1] then return 0 end
  entries[#entries + 1] = entry
end

for i, entry in ipairs(entries) do
  local from, to = tonumber(ARGV[i * 2]), behind + i - 1
  if from ~= to then
    local older = redis.call('LINDEX', list, -(to + 1))
    -- All places are one further from here on.
    redis.call('RPUSH', list, entry)
    redis.call('LSET', list, -(from + 2), older)
    redis.call('LSET', list, -(to + 2), entry)
    redis.call('RPOP', list)
  end
end
return 1
