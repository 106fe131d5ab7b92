#!lua flags=allow-oom
-- The last step of a commit in a transaction: takes a batch off the source, or undoes its pushes.
--
-- KEYS[1] source, KEYS[2] replay target, KEYS[3] dead list
-- ARGV[1] and ARGV[2] how many entries the transaction has pushed to KEYS[2] and to KEYS[3]
-- ARGV[3] and ARGV[4] the oldest and the youngest entry of the batch
-- Returns {replayed, dead}, or {-1} when the tail is not what the caller saw.
--
-- It runs as WATCH source, a peek, MULTI, LPUSH of the new bytes, this, EXEC. Pushing natively
-- matters: each string that reaches a script costs Redis more than the push itself.
--
-- Why no message can be lost, doubled or swapped, beyond what commit.lua says:
--  * Redis runs a transaction alone and as a whole, or, if the source was touched since before the
--    peek, not at all. Both ends are compared all the same, so that something between us and Redis
--    that swallows WATCH does not go unnoticed.
--  * A transaction goes on after a command in it has failed. So the trim is here, behind a look at
--    all that can make a push fail once EXEC has begun: the type of its key, and the user's
--    permission. Memory, replicas and disk Redis checks before EXEC begins, for all of it at once;
--    'allow-oom' says that the pushes' own memory is no reason to stop half-way.
--  * Whoever is not to trim takes the pushes back. Nobody has seen them: it is the same transaction.
--    Each list that is pushed to is also trimmed by nothing in the transaction, so that a user who
--    may not trim has it refused as a whole.
--  * It is sent whole, not by its digest: a server that had forgotten it would keep the pushes.

local pushed = { 0, tonumber(ARGV[1]), tonumber(ARGV[2]) }
local count = pushed[2] + pushed[3]
local present, refusal = { false, pushed[2] > 0, pushed[3] > 0 }, nil

for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'list' and kind ~= 'none' then
    present[i] = false
    refusal = 'WRONGTYPE key ' .. key .. ' holds a ' .. kind .. ', expected a list'
  end
  if i > 1 and not redis.acl_check_cmd('lpush', key, '') then
    present[i] = false
    refusal = 'NOPERM this user may not lpush ' .. key
  end
end

local same = not refusal
  and redis.call('LINDEX', KEYS[1], -1) == ARGV[3]
  and redis.call('LINDEX', KEYS[1], -count) == ARGV[4]
if same then
  redis.call('LTRIM', KEYS[1], 0, -(count + 1))
  return { pushed[2], pushed[3] }
end

for i = 2, 3 do
  if present[i] then redis.call('LTRIM', KEYS[i], pushed[i], -1) end
end
if refusal then return redis.error_reply(refusal) end
return { -1 }
