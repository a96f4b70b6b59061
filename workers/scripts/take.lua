-- Lend waiting batches to one router, oldest first. ARGV: most points, lease (s), 1 if it will look again soon.
-- The lease only saves work: match itself refuses the second of two routers. Returns batch ids.
local most, lease, t, points, taken, more = tonumber(ARGV[1]), tonumber(ARGV[2]), now(), 0, {}, false
for _, id in ipairs(redis.call('ZRANGE', UNROUTED, 0, 1999)) do
  local ends = tonumber(redis.call('ZSCORE', ROUTING, id) or '0')
  if come(ends, t, lease) then
    points = points + number(P .. 'batch:' .. id, 'points')
    more = #taken > 0 and points > most
    if more then break end
    redis.call('ZADD', ROUTING, t + lease, id)
    taken[#taken + 1] = id
  end
end
if ARGV[3] == '1' and not more then
  redis.call('SET', P .. 'nudged', string.format('%.6f', t)) -- whoever sends meanwhile need not nudge
else
  redis.call('DEL', P .. 'nudged')
end
return taken
