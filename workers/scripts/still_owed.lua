-- Of which batches may a route still have rows to write? Of those that wait for routing or are owed by any route, and of
-- those that its dead letters, or replays on their way, name; of any, if a letter cannot be read, or if the route never
-- owed a point here: another fleet may know it. ARGV: route, then batch ids. Returns those ids.
local named, owed = P .. 'named:' .. ARGV[1], {}
local any = redis.call('HEXISTS', named, '') == 1 or redis.call('SISMEMBER', OWING, ARGV[1]) == 0
for i = 2, #ARGV do
  if any or redis.call('EXISTS', P .. 'batch:' .. ARGV[i]) == 1 or redis.call('HEXISTS', named, ARGV[i]) == 1 then
    owed[#owed + 1] = ARGV[i]
  end
end
return owed
