-- Turn dead letters into a batch that waits for routing. ARGV: batch id, data, points, refused, digest, replay
-- (JSON, or '' for points that no route has seen), what their route counts them as, notes ({source: {note: count}}),
-- remember (s), k, then k letter ids, then (route, letter) pairs for points refused again.
-- Returns {'replayed'}, or {'gone', ids of letters that are no longer there …}; then nothing was done.
local id, data, points, refused = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local tombstone, letters = P .. 'accepted:' .. id, tonumber(ARGV[10])
if redis.call('EXISTS', tombstone) == 1 then return {'replayed'} end -- the client did not hear the first answer
local gone, replay = missing_letters(11, 10 + letters), ARGV[6] ~= '' and cjson.decode(ARGV[6])
if #gone > 0 then return {'gone', unpack(gone)} end

local last = tonumber(redis.call('GET', P .. 'number') or '0')
local taken = string.format('%.0f', math.max(last + 1, now() * 1e6))
redis.call('SET', P .. 'number', taken)
redis.call('SET', tombstone, taken, 'EX', ARGV[9])
exhume(11, 10 + letters)
if replay then name(replay[1], batches_of_replay(replay), 1) end
bury(11 + letters)
count(TOTALS, 'replayed', points + refused)
count(TOTALS, 'invalid', refused)
for source, found in pairs(cjson.decode(ARGV[8])) do
  for note, n in pairs(found) do count(P .. 'notes', note .. ' ' .. source, n) end
end
local bytes = #data + #ARGV[6]
redis.call('HSET', P .. 'batch:' .. id, 'data', data, 'points', points, 'number', taken, 'digest', ARGV[5],
           'context', '{}', 'bytes', bytes, 'owed', 0, 'replay', ARGV[6], 'counted_as', ARGV[7])
redis.call('ZADD', UNROUTED, taken, id)
count(TOTALS, 'waiting', points)
count(TOTALS, 'bytes', bytes)
count(TOTALS, 'batches', 1)
return {'replayed'}
