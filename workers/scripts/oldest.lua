-- Say which pending rows of a route are the oldest. ARGV: route, rows, most pieces.
-- Returns JSON text: [[batch id, start, stop], …] in the route's selections.
local route, wanted, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local pieces = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'pending:' .. route, 0, most - 1)) do
  local key = P .. 'batch:' .. id
  local start, stop = number(key, 'taken:' .. route), number(key, 'rows:' .. route)
  local n = math.min(stop - start, wanted)
  if n > 0 then pieces[#pieces + 1] = {id, start, start + n} end
  wanted = wanted - n
  if wanted <= 0 then break end
end
return #pieces > 0 and cjson.encode(pieces) or '[]'
