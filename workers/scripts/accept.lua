-- Store a batch once. ARGV: id, data, points, refused, digest, context, issued (seconds, or ''), remember (s),
-- high, low (bytes), notes ({source: {note: count}}), then (route, letter) pairs for the refused points.
-- Returns {verdict, acceptance number or detail, 1 if router.route is to be nudged}.
local id, data, points, refused = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local issued, remember, high, low = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local tombstone, notes = P .. 'accepted:' .. id, cjson.decode(ARGV[11])

-- A clock that went forward and back took the tombstone along, though the batch is still there.
local seen = redis.call('GET', tombstone) or redis.call('HGET', P .. 'batch:' .. id, 'number')
if seen then return {'again', seen, 0} end
if issued and now() - issued > remember then return {'expired', '', 0} end
local full = points > 0 and redis.call('SRANDMEMBER', P .. 'full') -- dead letters have a budget of their own
if full then return {'busy', 'route ' .. full .. ' owes more than its max_owed', 0} end
local crowd = redis.call('GET', P .. 'crowded') or crowded(12)
if crowd then return {'busy', crowd, 0} end
local held = number(TOTALS, 'bytes')
local closed = redis.call('EXISTS', P .. 'closed') == 1
if points > 0 and (held + #data > high or closed and held > low) then
  redis.call('SET', P .. 'closed', 1)
  return {'busy', string.format('%d of %d bytes are held', held, high), 0}
end

local last = tonumber(redis.call('GET', P .. 'number') or '0')
local taken = string.format('%.0f', math.max(last + 1, now() * 1e6))
if closed and points > 0 then redis.call('DEL', P .. 'closed') end
redis.call('SET', P .. 'number', taken)
local ahead = math.max(0, math.ceil((issued or 0) - now())) -- an id from a clock that is fast looks young for longer
redis.call('SET', tombstone, taken, 'EX', string.format('%d', remember + ahead))
count(TOTALS, 'accepted', points + refused)
count(TOTALS, 'invalid', refused)
bury(12)
for source, found in pairs(notes) do
  for note, n in pairs(found) do count(P .. 'notes', note .. ' ' .. source, n) end
end
if points == 0 then return {'accepted', taken, 0} end
redis.call('HSET', P .. 'batch:' .. id, 'data', data, 'points', points, 'number', taken, 'digest', ARGV[5],
           'context', ARGV[6], 'bytes', #data, 'owed', 0)
redis.call('ZADD', UNROUTED, taken, id)
count(TOTALS, 'waiting', points)
count(TOTALS, 'bytes', #data)
count(TOTALS, 'batches', 1)
return {'accepted', taken, nudge_router(now())}
