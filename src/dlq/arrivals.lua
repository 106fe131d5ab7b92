#!lua flags=no-writes
-- Returns the length of a list and a piece of its left end, youngest first: at most ARGV[3] entries
-- from position ARGV[1] on, and no more once ARGV[4] bytes were looked at. ARGV[2] is the length of
-- the list when that position was counted; what has been pushed since moves it. Each entry is
-- { its length, bytes, what follows the time of its stamp's name, what follows the count's }: up to
-- ARGV[5] bytes the whole entry and nothing else; of a longer one its ends, so that a giant does not
-- travel for its stamp's sake.
--
-- Nothing tells the size of an entry but the entry itself, so that one call looks at one entry too
-- many at most: see peek.lua.

local call = redis.call
local source = KEYS[1]
local kind = call('TYPE', source).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE key ' .. source .. ' holds a ' .. kind .. ', expected a list')
end

-- An entry above this size is searched at its right end only, where the stamp is put.
local SEARCHED, RIGHT, END, VALUE = 4194304, 65536, 2048, 32

-- What follows the last mention of a name; nothing where there is none, "?" where nobody knows.
local function behind(entry, name)
  local text = #entry > SEARCHED and entry:sub(-RIGHT) or entry
  local found
  local _, last = text:find(name, 1, true)
  while last do
    found = last
    _, last = text:find(name, last + 1, true)
  end
  if found then return text:sub(found + 1, found + VALUE) end
  return #entry > SEARCHED and '?' or ''
end

local depth = call('LLEN', source)
local from = tonumber(ARGV[1]) + math.max(0, depth - tonumber(ARGV[2]))
local left, whole = tonumber(ARGV[4]), tonumber(ARGV[5])
local entries = {}
for i = 1, tonumber(ARGV[3]) do
  if left <= 0 then break end
  local entry = call('LINDEX', source, from + i - 1)
  if not entry then break end
  left = left - #entry
  if #entry <= whole then
    entries[i] = { #entry, entry, '', '' }
  else
    local ends = entry:sub(1, END) .. entry:sub(-END)
    local at, count = behind(entry, '"_remediation_at"'), behind(entry, '"_remediation_count"')
    entries[i] = { #entry, ends, at, count }
  end
end
return { depth, entries }
