#!lua flags=allow-oom
-- Turns a plan into a run, once, if no other is active on the list.
--
-- KEYS[1] the plan, KEYS[2] the active run, KEYS[3] the run, KEYS[4] the list's last runs,
-- KEYS[5] the audit, if one is kept
-- ARGV[1] id of the run, ARGV[2] what is known of it, ARGV[3] seconds for which that is kept,
-- ARGV[4] how many entries the audit holds; ARGV from 5 the entry that it is to get: names and values
-- Returns {'started'}, {'no plan'} or {'active', id of the run}.

local audit = KEYS[5]
if audit then
  local kind = redis.call('TYPE', audit).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. audit .. ' holds a ' .. kind .. ', expected a stream')
  end
  if not redis.acl_check_cmd('xadd', audit, '*', 'a', 'b') then
    return redis.error_reply('NOPERM this user may not xadd ' .. audit)
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then return { 'no plan' } end
local active = redis.call('GET', KEYS[2])
if active then return { 'active', active } end
if audit then redis.call('XADD', audit, 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5)) end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('LPUSH', KEYS[4], ARGV[1])
redis.call('LTRIM', KEYS[4], 0, 49)
return { 'started' }
