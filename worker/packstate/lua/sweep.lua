-- Deletes bucket keys while the mark is ours. KEYS drop, buckets; ARGV token.
local mark = redis.call('GET', KEYS[1])
if not mark or string.match(mark, '^%S+') ~= ARGV[1] then return 'stale' end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', now()))
return 'ok'
