-- A part is done: its rows are no longer owed. ARGV: part, delivered, dropped, then (route, letter) pairs.
-- Any holder may settle, since the rows are where they belong. Returns {'settled', 1 if the flush is closed} or {'stale', 0}.
local key = P .. 'part:' .. ARGV[1]
local f = redis.call('HMGET', key, 'route', 'rows', 'pieces', 'flush', 'ordered')
local route, rows, flush, ordered, t = f[1], tonumber(f[2] or '0'), f[4], f[5] == '1', now()
if not route then return {'stale', 0} end

for _, piece in ipairs(cjson.decode(f[3])) do
  local batch = P .. 'batch:' .. piece[1]
  if redis.call('EXISTS', batch) == 1 and redis.call('HINCRBY', batch, 'owed', piece[2] - piece[3]) <= 0 then
    free(piece[1])
  end
end
redis.call('DEL', key)
redis.call('ZREM', PARTS, ARGV[1])
redis.call('SREM', P .. 'flush:' .. flush, ARGV[1])
local closed = redis.call('EXISTS', P .. 'flush:' .. flush) == 0 and 1 or 0
if closed == 1 then
  redis.call('SREM', P .. 'flushes:' .. route, flush)
elseif ordered then
  redis.call('ZADD', PARTS, 'LT', t, first_of(flush)) -- it was early until now: the next sweep nudges it
end

local stats = P .. 'route:' .. route
local delivered = tonumber(ARGV[2])
count(stats, 'parted', -rows)
count(stats, 'delivered', delivered)
count(stats, 'dropped', tonumber(ARGV[3]))
count(stats, 'dead', (#ARGV - 3) / 2)
redis.call('HSET', stats, 'last', string.format('%.3f', t))
local slot = P .. 'rate:' .. route .. ':' .. math.floor(t / 5)
redis.call('INCRBY', slot, delivered)
redis.call('EXPIRE', slot, 30)
bury(4)
weigh(route)
return {'settled', closed}
