#!lua
-- Does one thing to one key, and writes it down, or does neither.
--
-- KEYS[1] the key, KEYS[2] the audit, if one is kept
-- ARGV[1] the command, ARGV[2] how many arguments it has behind the key, and these
-- Behind them how many entries the audit holds, then for each entry that it is to get how many names
-- and values there are, and these
-- Returns what the command answers.
--
-- For what is small the same text runs under '#!lua flags=allow-oom', so that a server at maxmemory does
-- not take the hands off those who are to make room on it.

local last = 2 + tonumber(ARGV[2])
local audit = KEYS[2]
if audit then
  local kind = redis.call('TYPE', audit).ok
  if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE key ' .. audit .. ' holds a ' .. kind .. ', expected a stream')
  end
  if not redis.acl_check_cmd('xadd', audit, '*', 'a', 'b') then
    return redis.error_reply('NOPERM this user may not xadd ' .. audit)
  end
end
local answer = redis.pcall(ARGV[1], KEYS[1], unpack(ARGV, 3, last))
if type(answer) == 'table' and answer.err then return answer end
local at = last + 2
while audit and at <= #ARGV do
  local to = at + tonumber(ARGV[at])
  redis.call('XADD', audit, 'MAXLEN', '~', ARGV[last + 1], '*', unpack(ARGV, at + 1, to))
  at = to + 1
end
return answer
