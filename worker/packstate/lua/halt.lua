-- A process's halt. KEYS halt; ARGV 'set' or 'clear', why. Returns what stands.
-- Reasons are collected, one a line, so that a resume meant for one of them does
-- not wipe out another that came meanwhile.
local old = redis.call('HGET', KEYS[1], 'process')
if ARGV[1] == 'clear' then
  if old and old == ARGV[2] then
    redis.call('HDEL', KEYS[1], 'process')
    return ''
  end
  return old or ''
end
if not old then
  old = ARGV[2]
elseif not string.find('\n' .. old .. '\n', '\n' .. ARGV[2] .. '\n', 1, true) and #old < 4000 then
  old = old .. '\n' .. ARGV[2]
end
redis.call('HSET', KEYS[1], 'process', old)
return old
