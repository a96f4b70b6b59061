-- Lend waiting batches to one router, oldest first. ARGV: most points, lease (s).
-- The lease only saves work: match itself refuses the second of two routers. Returns batch ids.
redis.call('DEL', P .. 'nudged')
local most, t, points, taken = tonumber(ARGV[1]), now(), 0, {}
for _, id in ipairs(redis.call('ZRANGE', UNROUTED, 0, 1999)) do
  local lease = tonumber(redis.call('ZSCORE', ROUTING, id) or '0')
  if lease < t then
    points = points + number(P .. 'batch:' .. id, 'points')
    if #taken > 0 and points > most then break end
    redis.call('ZADD', ROUTING, t + tonumber(ARGV[2]), id)
    taken[#taken + 1] = id
  end
end
return taken
