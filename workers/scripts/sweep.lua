-- Find what waits for a nudge that was lost. ARGV: seconds to the first repeated nudge, most parts, the longest that
-- anything is ever put off (s).
-- Returns {1 if router.route is to be nudged, {part, route, rows, …}, {routes with something to cut or to close}}.
local t, first, ahead, parts, routes = now(), tonumber(ARGV[1]), tonumber(ARGV[3]), {}, {}
local function nudge(ids)
  for _, id in ipairs(ids) do
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
end
nudge(redis.call('ZRANGEBYSCORE', PARTS, '-inf', t, 'LIMIT', 0, tonumber(ARGV[2])))
nudge(redis.call('ZRANGEBYSCORE', PARTS, '(' .. t + ahead + 1, '+inf', 'LIMIT', 0, tonumber(ARGV[2]))) -- the clock was put back

for _, route in ipairs(redis.call('SMEMBERS', OWING)) do
  local found = redis.call('EXISTS', P .. 'pending:' .. route) == 1
                and come(number(P .. 'route:' .. route, 'look'), t, ahead)
  if not found then
    for _, flush in ipairs(redis.call('SMEMBERS', P .. 'flushes:' .. route)) do
      found = found or redis.call('EXISTS', P .. 'flush:' .. flush) == 0
    end
  end
  if found then routes[#routes + 1] = route end
end
local look = redis.call('EXISTS', UNROUTED) == 1 and nudge_router(t) or 0
return {look, parts, routes}
