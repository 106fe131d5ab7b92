#!lua
-- The first half of a move between slots: pushes a batch's part to a destination, once.
--
-- KEYS[1] destination, KEYS[2] its records of batches, in the same slot
-- ARGV[1] number of the batch
-- ARGV[2] what is to be known of it
-- ARGV[3] the depth above which the destination must not be lifted; 0 = none
-- ARGV from 4: the bytes to push, oldest first
-- Returns {'pushed'}, or {'known', what was recorded} if this batch has been pushed before, or
-- {'old', number of the newest batch} if a later one has: a worker that slept, or a source whose
-- failover took it back further than the records reach. {'full'} if it would be lifted too high.
--
-- Push and record are one write, so a failover of this slot loses both or none.
--
-- Of a batch of which all goes nowhere the record is written by the same text under '#!lua
-- flags=allow-oom': what follows makes room, and of records only the last few are kept.

local destination, records, number = KEYS[1], KEYS[2], ARGV[1]
local kind = redis.call('TYPE', destination).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. destination .. ' holds a ' .. kind .. ', expected a list')
end
if not redis.acl_check_cmd('lpush', destination, '') then
  return redis.error_reply('NOPERM this user may not lpush ' .. destination)
end

local known = redis.call('HGET', records, number)
if known then
  -- A write of this connection's own, for its WAIT to wait for.
  redis.call('HSET', records, number, known)
  return { 'known', known }
end
local newest = redis.call('HGET', records, 'newest')
if newest and tonumber(newest) > tonumber(number) then return { 'old', newest } end

local ceiling, count = tonumber(ARGV[3]), #ARGV - 3
if ceiling > 0 and count > 0 and redis.call('LLEN', destination) + count > ceiling then
  return { 'full' }
end

redis.call('HSET', records, number, ARGV[2], 'newest', number)
for first = 4, #ARGV, 1000 do
  redis.call('LPUSH', destination, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end

-- A source that fails over goes back a few batches at most; older records serve nobody.
local kept = 32
if redis.call('HLEN', records) > kept + 1 then
  for _, field in ipairs(redis.call('HKEYS', records)) do
    local old = tonumber(field)
    if old and old <= tonumber(number) - kept then redis.call('HDEL', records, field) end
  end
end
return { 'pushed' }
