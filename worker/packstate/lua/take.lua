-- Compare and set of a pack's holder. KEYS bucket; ARGV field, from ('' = nobody), to.
-- Returns who holds it now.
local has = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if has == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  has = ARGV[3]
end
return has
