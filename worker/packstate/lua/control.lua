-- What people set for an account's pace. KEYS control; ARGV sequence of the record, value.
-- The newest record counts, so a late or repeated call changes nothing.
local old = redis.call('HGET', KEYS[1], 'seq')
if old and tonumber(old) >= tonumber(ARGV[1]) then return old end
redis.call('HSET', KEYS[1], 'seq', ARGV[1], 'value', ARGV[2])
return ARGV[1]
