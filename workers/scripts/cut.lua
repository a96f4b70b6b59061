-- Close what is complete of a route's flushes, and turn pending rows into the parts of another.
-- ARGV: route, flush id, policy as JSON (see `Store.cut`).
-- Returns a flat list: part id, rows, part id, rows …; when there is nothing to cut, the route says from when on there
-- may be (`look`), and sweeps pass it over until then.
local route, flush, policy, t = ARGV[1], ARGV[2], cjson.decode(ARGV[3]), now()
local stats, pending, flushes = P .. 'route:' .. route, P .. 'pending:' .. route, P .. 'flushes:' .. route
local MOST_PIECES = 2000

local made = redis.call('SMEMBERS', P .. 'flush:' .. flush)
if #made > 0 then -- the client repeats a command whose answer it did not hear
  table.sort(made)
  local again = {}
  for _, id in ipairs(made) do
    again[#again + 1] = id
    again[#again + 1] = redis.call('HGET', P .. 'part:' .. id, 'rows')
  end
  return again
end
for _, open in ipairs(redis.call('SMEMBERS', flushes)) do
  if redis.call('EXISTS', P .. 'flush:' .. open) == 0 then redis.call('SREM', flushes, open) end
end
local function not_before(at)
  redis.call('HSET', stats, 'look', string.format('%.6f', at))
  return {}
end

local oldest = redis.call('ZRANGE', pending, 0, 0, 'WITHSCORES')
if not oldest[1] then return {} end
if redis.call('SCARD', flushes) >= policy.window then return not_before(t + 5) end
if tonumber(redis.call('HGET', KNOWN, route) or '0') < t - policy.served_for then return not_before(t + 1) end
local left = paused_for(policy.destination, t)
if left > 0 then return not_before(t + math.min(left, 1)) end -- it may answer before it is asked again

-- Whether rows accepted at a number need not wait for their write to fill.
local size, timeout = policy.batch_size or 1, policy.batch_timeout or 0
local asked = math.max(number(stats, 'asked'), tonumber(redis.call('GET', P .. 'asked') or '0'))
local function due(taken)
  return taken <= asked or come(taken / 1e6 + timeout, t, timeout)
end

-- How many points the limit lets go now: from a bucket that fills for a second, and no more than two seconds' worth in
-- any one second, what was written a moment ago included.
local allowed, tokens = math.huge, 0
if policy.rate then
  local since = number(stats, 'tokens_at')
  local passed = since <= t and t - since or 1 -- a clock that was put back gives a second
  local burst = math.max(policy.rate, 1)
  tokens = math.min(burst, number(stats, 'tokens') + passed * policy.rate)
  local recent, written = P .. 'recent:' .. route, 0
  for _, entry in ipairs(redis.call('LRANGE', recent, 0, -1)) do
    local at, rows = entry:match('^(%S+) (%S+)$')
    if come(tonumber(at) + 1, t, 1) then redis.call('LPOP', recent) else written = written + tonumber(rows) end
  end
  allowed = math.floor(math.min(tokens, 2 * burst - written) + 1e-6)
  local least = math.min(number(stats, 'pending'), policy.batch_size and size or math.max(1, math.floor(policy.rate / 10)))
  if allowed < least then return not_before(t + math.max(0.02, (least - allowed) / policy.rate)) end
end
if number(stats, 'pending') < size and not due(tonumber(oldest[2])) then
  return not_before(tonumber(oldest[2]) / 1e6 + timeout)
end

local part_rows = number(stats, 'pending') > policy.backlog_rows and policy.backlog_rows or policy.part_rows
part_rows = math.max(size, part_rows - part_rows % size)
local wanted = math.min(allowed, part_rows * policy.most_parts)
local below = '+inf' -- routers finish out of order: what is not matched yet may come before what is
if policy.ordered then
  local first = redis.call('ZRANGE', UNROUTED, 0, 0, 'WITHSCORES')
  if first[2] then below = '(' .. first[2] end
end

-- Gather what may go, oldest first; the rows that do not fill a write stay, unless they are due.
local found, total, page, more = {}, 0, 0, false
while not more do
  local batches = redis.call('ZRANGEBYSCORE', pending, '-inf', below, 'WITHSCORES', 'LIMIT', page, 500)
  if #batches == 0 then break end
  for i = 1, #batches, 2 do
    local key = P .. 'batch:' .. batches[i]
    local start, stop = number(key, 'taken:' .. route), number(key, 'rows:' .. route)
    local n = math.min(stop - start, wanted - total)
    found[#found + 1] = {batches[i], start, start + n, stop, tonumber(batches[i + 1])}
    total = total + n
    more = total >= wanted or #found >= policy.most_parts * MOST_PIECES + size
    if more then break end
  end
  page = page + 500
end
local rest = total % size
if rest > 0 then
  local last, seen = #found, 0
  while seen + found[last][3] - found[last][2] < rest do
    seen = seen + found[last][3] - found[last][2]
    last = last - 1
  end
  if more and total > rest or not due(found[last][5]) then total = total - rest end
  if total == 0 then return not_before(found[last][5] / 1e6 + timeout) end
end
if total == 0 then return not_before(t + 1) end

local parts, pieces, rows, offset, want = {}, {}, 0, 0, part_rows
local function close()
  local fields = {'route', route, 'rows', rows, 'ordered', policy.ordered and '1' or '0',
                  'pieces', cjson.encode(pieces), 'attempts', 0, 'silent', 0}
  if policy.rate then
    fields[#fields + 1] = 'limited'
    fields[#fields + 1] = 1
  end
  parts[#parts + 1] = make_part(flush, offset, '', t + policy.first_nudge, fields)
  parts[#parts + 1] = tostring(rows)
  offset, pieces, rows, want = offset + rows, {}, 0, part_rows
end
local left_over = total
for _, one in ipairs(found) do
  local id, taken, stop, have = one[1], one[2], math.min(one[3], one[2] + left_over), one[4]
  left_over = left_over - (stop - taken)
  while taken < stop do
    local n = math.min(stop - taken, want - rows)
    pieces[#pieces + 1] = {id, taken, taken + n}
    taken, rows = taken + n, rows + n
    if #pieces == MOST_PIECES then want = math.max(size, math.ceil(rows / size) * size) end
    if rows == want then
      close()
      if #parts / 2 == policy.most_parts then left_over = 0; stop = taken end
    end
  end
  if taken == have then
    redis.call('ZREM', pending, id)
  elseif taken > one[2] then
    redis.call('HSET', P .. 'batch:' .. id, 'taken:' .. route, taken)
  end
  if left_over == 0 then break end
end
if rows > 0 then close() end
if policy.rate then
  redis.call('HSET', stats, 'tokens', string.format('%.6f', tokens - offset), 'tokens_at', string.format('%.6f', t))
end
redis.call('HDEL', stats, 'look')
redis.call('SADD', flushes, flush)
count(stats, 'pending', -offset)
count(stats, 'parted', offset)
return parts
