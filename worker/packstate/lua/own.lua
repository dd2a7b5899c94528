-- Who holds each pack; a free one becomes the caller's. KEYS the bucket of each
-- pack; ARGV account, the field of each pack.
local out = {}
for i = 1, #KEYS do
  if redis.call('HSETNX', KEYS[i], ARGV[i + 1], ARGV[1]) == 1 then
    out[i] = ARGV[1]
  else
    out[i] = redis.call('HGET', KEYS[i], ARGV[i + 1])
  end
end
return out
