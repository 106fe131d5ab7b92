#!lua flags=allow-oom
-- The last step of a commit in a transaction: takes a batch off the source, or undoes its pushes.
--
-- KEYS[1] source, KEYS[2] replay target, KEYS[3] dead list; behind them the audit, if one is kept, and
-- the lease under which it is done, if ARGV[9] says one
-- ARGV[1] and ARGV[2] how many entries the transaction has pushed to KEYS[2] and to KEYS[3]
-- ARGV[3] and ARGV[4] the oldest and the youngest entry of the batch
-- ARGV[5] the depth above which KEYS[2] must not be lifted; 0 = none
-- ARGV[6] how many entries of the batch go nowhere
-- ARGV[7] how many entries the audit holds
-- ARGV[8] how many entries are to stay in the source at least; 0 if missing
-- ARGV[9] what the lease must say; '' or missing = there is none
-- ARGV from 10, for each entry that the audit is to get, how many names and values there are, and these
-- Returns {replayed, dead}, or {-1, why} when it has taken the pushes back; the why is FULL when
-- KEYS[2] would have been lifted too high.
--
-- It runs as WATCH source, this with nothing pushed, peek, MULTI, LPUSH of the new bytes, this,
-- EXEC. Pushing natively matters: each string that reaches a script costs Redis more than the push.
--
-- Why no message can be lost, doubled or swapped, beyond what commit.lua says:
--  * Redis runs a transaction alone and as a whole, or, if the source was touched since before the
--    peek, not at all. Both ends are compared all the same, so that something between us and Redis
--    that swallows WATCH does not go unnoticed.
--  * A transaction goes on after a command in it has failed. So the trim is here, behind a look at
--    all that can make a push fail once EXEC has begun: the type of its key, and the user's
--    permission. Memory, replicas and disk Redis checks before EXEC begins, for all of it at once;
--    'allow-oom' says that the pushes' own memory is no reason to stop half-way.
--  * What cannot be told to the audit is not done: it is written before the trim.
--  * Whoever is not to trim takes the pushes back. Nobody has seen them: it is the same transaction.
--  * That this can be compiled and run, and may call what it calls, is rehearsed before the peek,
--    with nothing pushed: a server or a user that cannot never gets as far as a push. It is sent
--    whole, not by its digest: a server that had forgotten it would keep the pushes. And each list
--    that is pushed to is also trimmed by nothing in the transaction, so that Redis refuses all of
--    it to a user who may not trim.

local pushed = { 0, tonumber(ARGV[1]), tonumber(ARGV[2]) }
local count = pushed[2] + pushed[3] + tonumber(ARGV[6])
local says = ARGV[9] or ''
local lease = says ~= '' and KEYS[#KEYS]
local audit = KEYS[4] ~= lease and KEYS[4]
local refusal

local function ask(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    refusal = answer.err
    return nil
  end
  return answer
end

local pushable = { true, pushed[2] > 0, pushed[3] > 0 }
for i, key in ipairs({ KEYS[1], KEYS[2], KEYS[3] }) do
  local kind = ask('TYPE', key)
  if kind and kind.ok ~= 'list' and kind.ok ~= 'none' then
    pushable[i] = false
    refusal = 'WRONGTYPE key ' .. key .. ' holds a ' .. kind.ok .. ', expected a list'
  end
  if i > 1 and not redis.acl_check_cmd('lpush', key, '') then
    pushable[i] = false
    refusal = 'NOPERM this user may not lpush ' .. key
  end
end
if audit then
  local kind = ask('TYPE', audit)
  if kind and kind.ok ~= 'stream' and kind.ok ~= 'none' then
    refusal = 'WRONGTYPE key ' .. audit .. ' holds a ' .. kind.ok .. ', expected a stream'
  end
  if not redis.acl_check_cmd('xadd', audit, '*', 'a', 'b') then
    refusal = 'NOPERM this user may not xadd ' .. audit
  end
end
local held = not lease or ask('GET', lease) == says
local keep = tonumber(ARGV[8] or 0)
local enough = keep == 0 or (ask('LLEN', KEYS[1]) or 0) - count >= keep
local oldest, youngest = ask('LINDEX', KEYS[1], -1), ask('LINDEX', KEYS[1], -math.max(count, 1))
if not refusal and count > 0 and (oldest ~= ARGV[3] or youngest ~= ARGV[4]) then
  refusal = 'the ends of the batch are others'
end
if not refusal and count > 0 and not held then refusal = 'somebody else has the lease' end
if not refusal and count > 0 and not enough then refusal = 'too few entries would stay' end

local ceiling = tonumber(ARGV[5])
if not refusal and ceiling > 0 then
  local target = ask('LLEN', KEYS[2])
  if target and pushed[2] > 0 and target > ceiling then refusal = 'FULL' end
end

local at = 10
while audit and not refusal and at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  ask('XADD', audit, 'MAXLEN', '~', ARGV[7], '*', unpack(ARGV, at + 1, last))
  at = last + 1
end

if refusal then
  for i = 2, 3 do
    if pushable[i] then redis.call('LTRIM', KEYS[i], pushed[i], -1) end
  end
  return { -1, refusal }
end
if count > 0 then redis.call('LTRIM', KEYS[1], 0, -(count + 1)) end
return { pushed[2], pushed[3] }
