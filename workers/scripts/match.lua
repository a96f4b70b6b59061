-- Turn one batch's matches into debts. ARGV: id, matched, unmatched, failed, k, then k times
-- (route, rows, selection, max_owed), then (route, letter) pairs for rows whose condition failed.
-- Returns 'matched', 'again' if the batch was matched before, or 'full': there is no room for the letters.
local id, routes = ARGV[1], tonumber(ARGV[5])
local key = P .. 'batch:' .. id
if crowded(6 + 4 * routes) then
  if number(key, 'tries') > 0 then redis.call('HINCRBY', key, 'tries', -1) end -- the router did not die of it
  return 'full'
end
if redis.call('ZREM', UNROUTED, id) == 0 then return 'again' end
redis.call('ZREM', ROUTING, id)

local points = number(key, 'points')
local taken = redis.call('HGET', key, 'number')
local counted_as = redis.call('HGET', key, 'counted_as') or 'matched' -- dead letters matched before they died
count(TOTALS, 'waiting', -points)
count(TOTALS, 'routed', points)
count(TOTALS, 'matched', tonumber(ARGV[2]))
count(TOTALS, 'unmatched', tonumber(ARGV[3]))
count(TOTALS, 'failed', tonumber(ARGV[4]))
local owed, held = 0, 0
for i = 6, 5 + 4 * routes, 4 do
  local route, rows = ARGV[i], tonumber(ARGV[i + 1])
  local stats = P .. 'route:' .. route
  redis.call('HSET', key, 'rows:' .. route, rows, 'selection:' .. route, ARGV[i + 2])
  redis.call('ZADD', P .. 'pending:' .. route, taken, id)
  redis.call('SADD', OWING, route)
  redis.call('HSET', stats, 'max_owed', ARGV[i + 3])
  redis.call('HSETNX', stats, 'since', string.format('%.3f', now()))
  count(stats, counted_as, rows)
  count(stats, 'pending', rows)
  weigh(route)
  owed = owed + rows
  held = held + #ARGV[i + 2]
end
for i = 6 + 4 * routes, #ARGV, 2 do
  if ARGV[i] ~= '' then
    redis.call('SADD', OWING, ARGV[i])
    count(P .. 'route:' .. ARGV[i], 'failed', 1)
  end
end
bury(6 + 4 * routes)
redis.call('HDEL', key, 'tries', 'router')
if owed == 0 then
  free(id)
else
  redis.call('HSET', key, 'owed', owed)
  count(key, 'bytes', held)
  count(TOTALS, 'bytes', held)
end
return 'matched'
