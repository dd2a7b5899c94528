-- Takes the right to empty an account. KEYS head, drop, open, due, parked, halt, control;
-- ARGV token, 'drop' (head or not) or 'begin' (only without a head), patience in ms.
-- While the mark stands nobody can begin. A mark not renewed for the patience
-- is that of a dead process.
local head = redis.call('GET', KEYS[1])
if ARGV[2] == 'begin' then
  if head == '0 ' then return 'same' end
  if head then return 'ahead' end
  local mark = redis.call('GET', KEYS[2])
  if mark then
    local who, at = string.match(mark, '^(%S+) (%d+)$')
    if who and who ~= ARGV[1] and now() - tonumber(at) < tonumber(ARGV[3]) then return 'stale' end
  end
end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[7])
redis.call('HDEL', KEYS[6], 'ledger')
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. string.format('%.0f', now()))
return 'ok'
