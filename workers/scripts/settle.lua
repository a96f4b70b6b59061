-- Settle the first rows of a part, and make new parts of the others, in order.
-- ARGV: part, token, rows settled, delivered, dropped, dead, destination that took them (or ''), nonce, what went wrong,
-- the other parts as JSON [[rows, attempts, silent, wait (s)], …], seconds to the first repeated nudge,
-- how many arguments are of windows: for each its name, how many of its newest bars go, how many it has at most, how
-- many bars come and these; then (route, letter) pairs.
-- Whoever wrote a whole part may settle it, since its rows are where they belong; only its holder may split it.
-- Returns {'settled', 1 if the flush is complete, {part, rows, …} to nudge now, {part, rows, …} that are to wait},
-- {'stale'}, or {'full', why}: there is no room for the letters.
local part, destination, nonce, error_said = ARGV[1], ARGV[7], ARGV[8], ARGV[9]
local done, others, t = tonumber(ARGV[3]), cjson.decode(ARGV[10]), now()
local key = P .. 'part:' .. part
local f = redis.call('HMGET', key, 'route', 'pieces', 'flush', 'ordered', 'since', 'offset', 'token', 'limited')
local route, flush, ordered, since, offset = f[1], f[3], f[4] == '1', f[5], tonumber(f[6])
if not route or (#others > 0 and f[7] ~= ARGV[2]) then return {'stale'} end
local letters = 13 + tonumber(ARGV[12])
local crowd = crowded(letters)
if crowd then return {'full', crowd} end

-- Hand out the pieces of the part, some rows at a time.
local pieces, at, used = cjson.decode(f[2]), 1, 0
local function next_pieces(rows)
  local taken = {}
  while rows > 0 do
    local id, start, stop = pieces[at][1], pieces[at][2] + used, pieces[at][3]
    local n = math.min(rows, stop - start)
    taken[#taken + 1] = {id, start, start + n}
    rows, used = rows - n, used + n
    if start + n == stop then at, used = at + 1, 0 end
  end
  return taken
end

for _, piece in ipairs(next_pieces(done)) do
  local batch = P .. 'batch:' .. piece[1]
  if redis.call('EXISTS', batch) == 1 and redis.call('HINCRBY', batch, 'owed', piece[2] - piece[3]) <= 0 then
    free(piece[1])
  end
end
redis.call('DEL', key)
redis.call('ZREM', PARTS, part)
redis.call('SREM', P .. 'flush:' .. flush, part)

local now_due, later = {}, {}
offset = offset + done
for _, other in ipairs(others) do
  local rows, wait = other[1], other[4]
  local fields = {'route', route, 'rows', rows, 'ordered', f[4], 'pieces', cjson.encode(next_pieces(rows)),
                  'attempts', other[2], 'silent', other[3]}
  for name, value in pairs({limited = f[8] or nil, since = since or (wait > 0 and string.format('%.3f', t)) or nil}) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if wait > 0 then
    for _, v in ipairs({'due', string.format('%.6f', t + wait), 'wait', wait, 'error', error_said}) do
      fields[#fields + 1] = v
    end
  end
  local id = make_part(flush, offset, nonce, t + (wait > 0 and wait + 1 or tonumber(ARGV[11])), fields)
  local list = wait > 0 and later or now_due
  list[#list + 1] = id
  list[#list + 1] = tostring(rows)
  offset = offset + rows
end

local complete = redis.call('EXISTS', P .. 'flush:' .. flush) == 0 and 1 or 0
if ordered then -- one at a time: the first, unless that is to wait
  now_due = {}
  local first = complete == 0 and first_of(flush)
  local due = first and redis.call('HMGET', P .. 'part:' .. first, 'rows', 'due')
  if due and not due[2] then
    redis.call('ZADD', PARTS, 'LT', t + tonumber(ARGV[11]), first)
    now_due = {first, due[1]}
  end
end

local stats, delivered = P .. 'route:' .. route, tonumber(ARGV[4])
count(stats, 'parted', -done)
count(stats, 'delivered', delivered)
count(stats, 'dropped', tonumber(ARGV[5]))
count(stats, 'dead', tonumber(ARGV[6]))
if done > 0 then
  redis.call('HSET', stats, 'last', string.format('%.3f', t))
  local slot = P .. 'rate:' .. route .. ':' .. math.floor(t / 5)
  redis.call('INCRBY', slot, delivered)
  redis.call('EXPIRE', slot, 30)
  if f[8] then
    redis.call('RPUSH', P .. 'recent:' .. route, string.format('%.6f %d', t, done))
    redis.call('EXPIRE', P .. 'recent:' .. route, 30)
  end
end
if destination ~= '' then resume(destination, t) end
bury(letters)
weigh(route)

local at = 13
while at < letters do
  local window, dropped, kept, bars = P .. 'window:' .. route .. ':' .. ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  redis.call('LTRIM', window, 0, -1 - dropped)
  for i = at + 4, at + 3 + bars do redis.call('RPUSH', window, ARGV[i]) end
  redis.call('LTRIM', window, -kept, -1)
  at = at + 4 + bars
end
return {'settled', complete, now_due, later}
