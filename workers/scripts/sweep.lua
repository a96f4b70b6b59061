-- Find what waits for a nudge that was lost. ARGV: seconds to the first repeated nudge, most parts.
-- Returns {1 if router.route is to be nudged, {part, route, rows, …}, {routes with pending rows}}.
local t, first, parts, routes = now(), tonumber(ARGV[1]), {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', PARTS, '-inf', t, 'LIMIT', 0, tonumber(ARGV[2]))) do
  local key = P .. 'part:' .. id
  local f = redis.call('HMGET', key, 'route', 'rows', 'nudges')
  if not f[1] then
    redis.call('ZREM', PARTS, id)
  else
    local wait = math.min(60, first * 2 ^ tonumber(f[3] or '0'))
    redis.call('HINCRBY', key, 'nudges', 1)
    redis.call('ZADD', PARTS, t + wait, id)
    for _, v in ipairs({id, f[1], f[2]}) do parts[#parts + 1] = v end
  end
end
for _, route in ipairs(redis.call('SMEMBERS', OWING)) do
  if redis.call('EXISTS', P .. 'pending:' .. route) == 1 then routes[#routes + 1] = route end
end
local look = 0
if redis.call('EXISTS', UNROUTED) == 1 and redis.call('SET', P .. 'nudged', 1, 'NX', 'PX', 1000) then look = 1 end
return {look, parts, routes}
