-- KEYS halt, head, the bucket of each pack; ARGV belief, the field of each pack.
-- Returns the status and, when ok, one value (or nil) a pack.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'halted'} end
local head = redis.call('GET', KEYS[2])
if not head then return {'stale'} end
local out = {place(head, ARGV[1])}
if out[1] ~= 'ok' then return out end
for i = 3, #KEYS do
  out[i - 1] = redis.call('HGET', KEYS[i], ARGV[i - 1])
end
return out
