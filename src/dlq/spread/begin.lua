#!lua flags=allow-oom
-- Returns {number of the batch that is to be taken off the source next, 1 if it was written}. Where
-- it was written, a replica is to confirm it before the batch is begun.
--
-- KEYS[1] the source's sequence
-- Runs without memory as well: what is taken off the source makes room there.
-- ARGV[1] 1 if it is to be written in any case: once more as it is, so that this connection's WAIT
--         has something to wait for
-- ARGV[2] otherwise it is written if it is a multiple of this, or there was none yet
-- A first number is the time in microseconds, so that one which was lost with all its history does
-- not meet an old record of a destination.

local number = redis.call('GET', KEYS[1])
if number and not tonumber(number) then
  return redis.error_reply('WRONGTYPE key ' .. KEYS[1] .. ' holds no number')
end
if number and ARGV[1] ~= '1' and tonumber(number) % tonumber(ARGV[2]) ~= 0 then
  return { number, 0 }
end
if not number then
  local now = redis.call('TIME')
  number = now[1] .. string.format('%06d', tonumber(now[2]))
end
redis.call('SET', KEYS[1], number)
return { number, 1 }
