#!lua flags=allow-oom
-- The second half of a move between slots: takes a batch off the source, once.
--
-- KEYS[1] source, KEYS[2] its sequence, KEYS[3] the audit, if one is kept; all in the same slot
-- ARGV[1] number of the batch
-- ARGV[2] the first 32 hexadecimal digits of the SHA-1 of each entry, oldest first
-- ARGV[3] 1 if nothing is to be done where some of it is out of sight
-- ARGV[4] how many entries the audit holds; ARGV from 5, for each entry that it is to get, how many
--         names and values there are, and these
-- Returns {removed, missing}, or {-1, 0} if the batch has been taken off already, or {-2, missing}
-- where nothing was done.
--
-- The destinations hold all of the batch by now, so whatever of it still lies here must go: in
-- the usual case the tail. If somebody has taken entries off since they were pushed, the others are
-- searched for; which of two equal entries goes makes no difference. An operator who makes room at
-- the old end may have put them anywhere: then the caller looks for them first.

local source, number = KEYS[1], ARGV[1]
if redis.call('GET', KEYS[2]) ~= number then return { -1, 0 } end
-- All or nothing: entries that go without the number would have their twins go next time.
for _, needed in ipairs({ { 'ltrim', source, '0', '0' }, { 'lrem', source, '0', '' }, { 'set', KEYS[2], '' } }) do
  if not redis.acl_check_cmd(unpack(needed)) then
    return redis.error_reply('NOPERM this user may not ' .. needed[1] .. ' ' .. needed[2])
  end
end

local function digest(entry) return redis.sha1hex(entry):sub(1, 32) end

local count = #ARGV[2] / 32
local same = true
for i = 1, count do
  local entry = redis.call('LINDEX', source, -i)
  if not entry or digest(entry) ~= ARGV[2]:sub(i * 32 - 31, i * 32) then
    same = false
    break
  end
end

local found = {}
if not same then
  local wanted = {}
  for i = 1, count do
    local one = ARGV[2]:sub(i * 32 - 31, i * 32)
    wanted[one] = (wanted[one] or 0) + 1
  end
  for i = 1, count + 1000 do
    local entry = redis.call('LINDEX', source, -i)
    if not entry then break end
    local one = digest(entry)
    if (wanted[one] or 0) > 0 then
      wanted[one] = wanted[one] - 1
      found[#found + 1] = entry
    end
  end
  if #found < count and ARGV[3] == '1' then return { -2, count - #found } end
end

-- Before anything goes: what cannot be told is not done.
local at = 5
while KEYS[3] and at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, at + 1, last))
  at = last + 1
end

local removed = 0
if same then
  redis.call('LTRIM', source, 0, -(count + 1))
  removed = count
else
  for _, entry in ipairs(found) do
    removed = removed + redis.call('LREM', source, -1, entry)
  end
end
redis.call('SET', KEYS[2], string.format('%.0f', tonumber(number) + 1))
return { removed, count - removed }
