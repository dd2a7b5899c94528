-- Who holds each pack; a free one becomes the caller's. KEYS the bucket of each
-- pack; ARGV account, the field of each pack.
local out = {}
for i = 1, #KEYS do
  redis.call('HSETNX', KEYS[i], ARGV[i + 1], ARGV[1])
  out[i] = redis.call('HGET', KEYS[i], ARGV[i + 1])
end
return out
