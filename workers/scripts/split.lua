-- Replace a part by two. ARGV: part, token, rows in the first half, seconds to the first repeated nudge,
-- unanswered claims each half begins with.
-- Returns {id, rows, id, rows}, or {} if the part is no longer held with this token.
local id, at, t = ARGV[1], tonumber(ARGV[3]), now()
local key = P .. 'part:' .. id
local f = redis.call('HMGET', key, 'token', 'route', 'pieces', 'flush', 'since', 'rows', 'ordered')
if f[1] ~= ARGV[2] then return {} end

local halves, seen = {{}, {}}, 0
for _, piece in ipairs(cjson.decode(f[3])) do
  local n = piece[3] - piece[2]
  local first = math.max(0, math.min(n, at - seen))
  if first > 0 then table.insert(halves[1], {piece[1], piece[2], piece[2] + first}) end
  if first < n then table.insert(halves[2], {piece[1], piece[2] + first, piece[3]}) end
  seen = seen + n
end
local made = {}
for i, half in ipairs(halves) do
  local new, rows = id .. '.' .. i, i == 1 and at or tonumber(f[6]) - at
  redis.call('HSET', P .. 'part:' .. new, 'route', f[2], 'rows', rows, 'flush', f[4], 'ordered', f[7] or '0',
             'pieces', cjson.encode(half), 'attempts', 0, 'silent', ARGV[5])
  if f[5] then redis.call('HSET', P .. 'part:' .. new, 'since', f[5]) end
  redis.call('ZADD', PARTS, t + tonumber(ARGV[4]), new)
  redis.call('SADD', P .. 'flush:' .. f[4], new)
  made[#made + 1] = new
  made[#made + 1] = tostring(rows)
end
redis.call('DEL', key)
redis.call('ZREM', PARTS, id)
redis.call('SREM', P .. 'flush:' .. f[4], id)
return made
