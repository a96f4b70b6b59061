-- Turn pending rows of one route into the parts of one flush.
-- ARGV: route, ordered (0 or 1), window, rows a part, rows a part under backlog, most parts,
-- seconds to the first repeated nudge, flush id, seconds a worker's word that it serves the route is good for.
-- Returns a flat list: part id, rows, part id, rows …
local route, ordered, window = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local most_parts, flush, t = tonumber(ARGV[6]), ARGV[8], now()
local stats, pending = P .. 'route:' .. route, P .. 'pending:' .. route
local MOST_PIECES = 2000

local made = redis.call('SMEMBERS', P .. 'flush:' .. flush)
if #made > 0 then -- the client repeats a command whose answer it did not hear
  local again = {}
  for _, id in ipairs(made) do
    again[#again + 1] = id
    again[#again + 1] = redis.call('HGET', P .. 'part:' .. id, 'rows')
  end
  return again
end
if redis.call('SCARD', P .. 'flushes:' .. route) >= window then return {} end
local served = tonumber(redis.call('HGET', KNOWN, route) or '0')
if served < t - tonumber(ARGV[9]) then return {} end
local below = '+inf' -- routers finish out of order: what is not matched yet may come before what is
if ordered then
  local first = redis.call('ZRANGE', UNROUTED, 0, 0, 'WITHSCORES')
  if first[2] then below = '(' .. first[2] end
end
local size = tonumber(ARGV[4])
if number(stats, 'pending') > tonumber(ARGV[5]) then size = tonumber(ARGV[5]) end

local parts, pieces, rows, total = {}, {}, 0, 0
local function close()
  local id = flush .. '-' .. (#parts / 2 + 1)
  redis.call('HSET', P .. 'part:' .. id, 'route', route, 'rows', rows, 'flush', flush, 'ordered', ARGV[2],
             'pieces', cjson.encode(pieces), 'attempts', 0, 'silent', 0)
  redis.call('ZADD', PARTS, t + tonumber(ARGV[7]), id)
  redis.call('SADD', P .. 'flush:' .. flush, id)
  parts[#parts + 1] = id
  parts[#parts + 1] = tostring(rows)
  total = total + rows
  pieces, rows = {}, 0
end

local full = false
while not full do
  local batches = redis.call('ZRANGEBYSCORE', pending, '-inf', below, 'LIMIT', 0, 500)
  if #batches == 0 then break end
  for _, id in ipairs(batches) do
    local key = P .. 'batch:' .. id
    local have, taken = number(key, 'rows:' .. route), number(key, 'taken:' .. route)
    while taken < have and not full do
      local n = math.min(have - taken, size - rows)
      pieces[#pieces + 1] = {id, taken, taken + n}
      taken, rows = taken + n, rows + n
      if rows == size or #pieces == MOST_PIECES then
        close()
        full = #parts / 2 == most_parts
      end
    end
    if taken == have then
      redis.call('ZREM', pending, id)
    else
      redis.call('HSET', key, 'taken:' .. route, taken)
    end
    if full then break end
  end
end
if rows > 0 then close() end
if total > 0 then
  redis.call('SADD', P .. 'flushes:' .. route, flush)
  count(stats, 'pending', -total)
  count(stats, 'parted', total)
end
return parts
