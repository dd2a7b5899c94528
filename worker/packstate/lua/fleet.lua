-- Who is alive, by this server's clock. KEYS fleet; ARGV worker, ttl in ms (0 = leaves).
local t = now()
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', t + tonumber(ARGV[2])), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', t))
return redis.call('ZRANGE', KEYS[1], 0, -1)
