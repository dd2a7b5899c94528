-- KEYS halt, head, open, due, parked, the bucket of each pack.
-- ARGV prev, next, halt ('' none, '+why' halts, '-' resumes), counts of open, due
-- and parked entries; then field, value a pack; seq, change; k, ms; k, 1 or 0.
-- The head is written last: a script that breaks off half-way has moved nothing.
if redis.call('HEXISTS', KEYS[1], 'process') == 1 then return 'halted' end
local head = redis.call('GET', KEYS[2])
if not head then return 'stale' end
if head == ARGV[2] then return 'same' end
local at = place(head, ARGV[1])
if at ~= 'ok' then return at end

local call, keys, args, n = redis.call, KEYS, ARGV, 7 -- locals: this runs for each pack
for i = 6, #keys do
  call('HSET', keys[i], args[n], args[n + 1])
  n = n + 2
end
for _ = 1, tonumber(ARGV[4]) do
  if redis.call('HINCRBY', KEYS[3], ARGV[n], ARGV[n + 1]) <= 0 then redis.call('HDEL', KEYS[3], ARGV[n]) end
  n = n + 2
end
for _ = 1, tonumber(ARGV[5]) do
  if ARGV[n + 1] == '-1' then redis.call('ZREM', KEYS[4], ARGV[n]) else redis.call('ZADD', KEYS[4], ARGV[n + 1], ARGV[n]) end
  n = n + 2
end
for _ = 1, tonumber(ARGV[6]) do
  if ARGV[n + 1] == '1' then redis.call('ZADD', KEYS[5], 0, ARGV[n]) else redis.call('ZREM', KEYS[5], ARGV[n]) end
  n = n + 2
end
local halt = string.sub(ARGV[3], 1, 1)
if halt == '+' then redis.call('HSET', KEYS[1], 'ledger', string.sub(ARGV[3], 2)) end
if halt == '-' then redis.call('HDEL', KEYS[1], 'ledger') end
redis.call('SET', KEYS[2], ARGV[2])
return 'ok'
