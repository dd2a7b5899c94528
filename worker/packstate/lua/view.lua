-- KEYS halt, head, the bucket of each pack; ARGV belief, the field of each pack.
-- Returns the status and, when ok, the values of all packs in one text (prelude).
if redis.call('EXISTS', KEYS[1]) == 1 then return {'halted'} end
local head = redis.call('GET', KEYS[2])
if not head then return {'stale'} end
local at = place(head, ARGV[1])
if at ~= 'ok' then return {at} end
return {at, values(2, 1)}
