-- End the loans of a router that is dead. ARGV: its token. Returns how many there were; the loans stay counted.
local found = 0
for _, id in ipairs(redis.call('ZRANGE', ROUTING, 0, -1)) do
  if redis.call('HGET', P .. 'batch:' .. id, 'router') == ARGV[1] then
    redis.call('ZREM', ROUTING, id)
    found = found + 1
  end
end
redis.call('ZREM', ROUTERS, ARGV[1])
if found > 0 then redis.call('DEL', P .. 'nudged') end -- it said that it would look again, and will not
return found
