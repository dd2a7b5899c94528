-- Part of every script. A head is "SEQ HASH"; its place is found by sequence,
-- and by hash where the sequences agree: a ledger that lost its tail grows the
-- same numbers again (protocol.md 2.3 [B6]).

local function seqOf(head) return string.match(head, '^%d+') end

-- Decimal strings without leading zeros, so the shorter one is smaller. Lua's
-- numbers would be exact to 2^53 only.
local function older(a, b)
  a, b = seqOf(a), seqOf(b)
  return #a < #b or (#a == #b and a < b)
end

local function place(head, belief)
  if head == belief then return 'ok' end
  if older(head, belief) then return 'stale' end
  if older(belief, head) then return 'ahead' end
  return 'fork'
end

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The values of packs, whose buckets follow KEYS[k] and whose fields follow ARGV[a], in one
-- text: a byte with the value's length (0: no such pack, at most 64), then the value. One text
-- for all costs server and client far less than a reply for each.
local function values(k, a)
  local call, char, keys, args, out = redis.call, string.char, KEYS, ARGV, {}
  for i = 1, #keys - k do
    local v = call('HGET', keys[k + i], args[a + i]) or ''
    if #v > 64 then v = '?' end -- not ours: no version of a value begins so
    out[2 * i - 1], out[2 * i] = char(#v), v
  end
  return table.concat(out)
end
