-- Ends the emptying. KEYS head, drop; ARGV token, 'drop' or 'begin'.
-- No mark and no head: somebody emptied the account after us, or Redis did.
local mark = redis.call('GET', KEYS[2])
if not mark or string.match(mark, '^%S+') ~= ARGV[1] then
  local head = redis.call('GET', KEYS[1])
  if ARGV[2] == 'drop' then return mark and 'stale' or 'ok' end
  if head == '0 ' then return 'same' end
  return head and 'ahead' or 'stale'
end
redis.call('DEL', KEYS[2])
if ARGV[2] == 'begin' then redis.call('SET', KEYS[1], '0 ') end
return 'ok'
