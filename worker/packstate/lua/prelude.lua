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
