-- Lend waiting batches to one router, oldest first. ARGV: most points, lease (s), 1 if it will look again soon,
-- the router's token ('' if it has none), lease of a suspect (s), which is the longest.
-- The lease only saves work: match itself refuses the second of two routers. Loans are counted until match: a batch
-- that came back unmatched is lent with fewer others, and at last as a suspect, alone.
-- Returns a flat list: batch id, loans so far, batch id, loans so far …
local COMPANY = {2000, 100, 10} -- most batches of one loan, by how often one of them was lent before
local most, lease, longest, t = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5]), now()
local points, batches, taken, more = 0, COMPANY[1], {}, false
for _, id in ipairs(redis.call('ZRANGE', UNROUTED, 0, COMPANY[1] - 1)) do
  local ends = tonumber(redis.call('ZSCORE', ROUTING, id) or '0')
  if come(ends, t, longest) then
    local key = P .. 'batch:' .. id
    local f = redis.call('HMGET', key, 'points', 'tries')
    local tries = tonumber(f[2] or '0')
    points = points + tonumber(f[1] or '0')
    batches = math.min(batches, COMPANY[tries + 1] or 1)
    more = #taken > 0 and (points > most or #taken / 2 >= batches)
    if more then break end
    if f[1] then redis.call('HSET', key, 'tries', tries + 1, 'router', ARGV[4]) end
    redis.call('ZADD', ROUTING, t + (COMPANY[tries + 1] and lease or longest), id)
    taken[#taken + 1] = id
    taken[#taken + 1] = tostring(tries + 1)
  end
end
if #taken > 0 and ARGV[4] ~= '' then
  redis.call('ZREMRANGEBYSCORE', ROUTERS, '-inf', t)
  redis.call('ZADD', ROUTERS, 'GT', t + longest, ARGV[4])
end
if ARGV[3] == '1' and not more then
  redis.call('SET', P .. 'nudged', string.format('%.6f', t)) -- whoever sends meanwhile need not nudge
else
  redis.call('DEL', P .. 'nudged')
end
return taken
