-- KEYS the bucket of each pack; ARGV the field of each pack. One value (or nil) a pack.
local out = {}
for i = 1, #KEYS do out[i] = redis.call('HGET', KEYS[i], ARGV[i]) end
return out
