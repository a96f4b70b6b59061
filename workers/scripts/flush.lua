-- Let nothing that was accepted by now wait for its write to fill. ARGV: route ids; none: every route.
-- Returns a flat list: route, points pending, route, points …
local number_now, routes = redis.call('GET', P .. 'number') or '0', ARGV
if #routes == 0 then
  routes = redis.call('SMEMBERS', OWING)
  redis.call('SET', P .. 'asked', number_now)
end
local answer = {}
for _, route in ipairs(routes) do
  local stats = P .. 'route:' .. route
  if #ARGV > 0 then redis.call('HSET', stats, 'asked', number_now) end
  redis.call('HDEL', stats, 'look')
  answer[#answer + 1] = route
  answer[#answer + 1] = redis.call('HGET', stats, 'pending') or '0'
end
return answer
