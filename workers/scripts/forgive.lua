-- Let a route that nobody serves any more keep the door shut no longer. ARGV: route, seconds a worker's word that it
-- serves the route is good for. Returns 1 if it did keep it shut.
if tonumber(redis.call('HGET', KNOWN, ARGV[1]) or '0') >= now() - tonumber(ARGV[2]) then return 0 end
return redis.call('SREM', P .. 'full', ARGV[1])
