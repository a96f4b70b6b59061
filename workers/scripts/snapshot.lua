-- Count everything at one instant, from the debts themselves and from the counters. Returns JSON text.
local function pairs_of(list)
  local out = {}
  for i = 1, #list, 2 do out[list[i]] = tonumber(list[i + 1]) end
  return out
end
local t = now()
local report = {at = t, totals = pairs_of(redis.call('HGETALL', TOTALS)), routes = {}, unrouted = 0, oldest = 0}
local batches = {} -- id -> rows that pending selections and parts say it owes
for _, id in ipairs(redis.call('ZRANGE', UNROUTED, 0, -1)) do
  report.unrouted = report.unrouted + number(P .. 'batch:' .. id, 'points')
  batches[id] = 0
end
local first = redis.call('ZRANGE', UNROUTED, 0, 0, 'WITHSCORES')
if first[2] then report.oldest = t - tonumber(first[2]) / 1e6 end

for _, route in ipairs(redis.call('SMEMBERS', OWING)) do
  local entry = pairs_of(redis.call('HGETALL', P .. 'route:' .. route))
  entry.owed_pending, entry.owed_parts, entry.parts = 0, 0, 0
  for _, id in ipairs(redis.call('ZRANGE', P .. 'pending:' .. route, 0, -1)) do
    local key = P .. 'batch:' .. id
    local owed = number(key, 'rows:' .. route) - number(key, 'taken:' .. route)
    entry.owed_pending = entry.owed_pending + owed
    batches[id] = (batches[id] or 0) + owed
  end
  entry.flushes = redis.call('SCARD', P .. 'flushes:' .. route)
  local recent = 0
  for slot = 1, 3 do recent = recent + tonumber(redis.call('GET', P .. 'rate:' .. route .. ':' .. (math.floor(t / 5) - slot)) or '0') end
  entry.rate = recent / 15
  report.routes[route] = entry
end
for _, id in ipairs(redis.call('ZRANGE', PARTS, 0, -1)) do
  local f = redis.call('HMGET', P .. 'part:' .. id, 'route', 'rows', 'pieces')
  if f[1] then
    local entry = report.routes[f[1]]
    entry.owed_parts = entry.owed_parts + tonumber(f[2])
    entry.parts = entry.parts + 1
    for _, piece in ipairs(cjson.decode(f[3])) do
      batches[piece[1]] = (batches[piece[1]] or 0) + piece[3] - piece[2]
    end
  end
end
report.live, report.strayed = 0, 0
for id, owed in pairs(batches) do
  report.live = report.live + 1
  if number(P .. 'batch:' .. id, 'owed') ~= owed then report.strayed = report.strayed + 1 end
end
report.silent = pairs_of(redis.call('HGETALL', KNOWN))
for name, at in pairs(report.silent) do report.silent[name] = t - at end
report.ingress = redis.call('XLEN', P .. 'ingress')
report.paused = {}
for _, destination in ipairs(redis.call('SMEMBERS', P .. 'paused')) do
  local f = redis.call('HMGET', P .. 'paused:' .. destination, 'since', 'until', 'failures', 'error')
  if f[1] then
    report.paused[destination] = {since = tonumber(f[1]), ['until'] = tonumber(f[2]), failures = tonumber(f[3]), error = f[4]}
  end
end
report.letters_mark = number(P .. 'marks', 'letters')
report.reasons = pairs_of(redis.call('HGETALL', P .. 'reasons'))
report.notes = pairs_of(redis.call('HGETALL', P .. 'notes'))
report.dead_letters = redis.call('XLEN', DEAD)
return cjson.encode(report)
