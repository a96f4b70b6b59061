-- Let the oldest pending rows of a route be dead: they are in a file. ARGV: route, file, pieces as JSON (see oldest.lua),
-- then (route, letter) pairs.
-- Returns {'spilled'}, {'stale'} if these rows are not the oldest any more, or {'full', why}: there is no room for the letters.
local route, file, pieces = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local stats, pending, rows = P .. 'route:' .. route, P .. 'pending:' .. route, 0
if redis.call('SISMEMBER', P .. 'spilled', file) == 1 then return {'spilled'} end -- the answer was not heard
for _, piece in ipairs(pieces) do
  local key = P .. 'batch:' .. piece[1]
  local still = redis.call('ZSCORE', pending, piece[1]) and number(key, 'taken:' .. route) == piece[2]
  if not still or number(key, 'rows:' .. route) < piece[3] then return {'stale'} end
end
local crowd = crowded(4)
if crowd then return {'full', crowd} end

for _, piece in ipairs(pieces) do
  local id, stop, n = piece[1], piece[3], piece[3] - piece[2]
  local key = P .. 'batch:' .. id
  if stop == number(key, 'rows:' .. route) then
    redis.call('ZREM', pending, id)
  else
    redis.call('HSET', key, 'taken:' .. route, stop)
  end
  if redis.call('HINCRBY', key, 'owed', -n) <= 0 then free(id) end
  rows = rows + n
end
count(stats, 'pending', -rows)
count(stats, 'dead', rows)
bury(4)
weigh(route)
return {'spilled'}
