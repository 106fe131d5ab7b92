#!lua flags=no-writes
-- Returns 1 if a batch is still to be taken off the source and its old end is what was peeked, so
-- that a push that would be in vain is not begun; otherwise 0.
--
-- KEYS[1] source, KEYS[2] its sequence; behind them the audit, if one is kept, and the lease under which
-- it is done, if ARGV[4] says one; all in the same slot
-- ARGV[1] number of the batch
-- ARGV[2] the first 32 hexadecimal digits of the SHA-1 of each entry, oldest first
-- ARGV[3] how many entries are to stay in the source at least; 0 if missing
-- ARGV[4] what the lease must say; '' or missing = there is none
--
-- Lease and length may change between this and the push. If somebody has moved anything off the source
-- by then, he has used the number of the batch, and the push is refused.

local says = ARGV[4] or ''
local lease = says ~= '' and KEYS[#KEYS]
local audit = KEYS[3] ~= lease and KEYS[3]
if audit then
  local kind = redis.call('TYPE', audit).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. audit .. ' holds a ' .. kind .. ', expected a stream')
  end
  if not redis.acl_check_cmd('xadd', audit, '*', 'a', 'b') then
    return redis.error_reply('NOPERM this user may not xadd ' .. audit)
  end
end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if lease and redis.call('GET', lease) ~= says then return 0 end
if redis.call('LLEN', KEYS[1]) - #ARGV[2] / 32 < tonumber(ARGV[3] or 0) then return 0 end
for i = 1, #ARGV[2] / 32 do
  local entry = redis.call('LINDEX', KEYS[1], -i)
  if not entry or redis.sha1hex(entry):sub(1, 32) ~= ARGV[2]:sub(i * 32 - 31, i * 32) then
    return 0
  end
end
return 1
