-- Keep a claim. ARGV: part, token, lease (s). Returns 1, or 0 if the part is no longer held with this token.
local key = P .. 'part:' .. ARGV[1]
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
local lease = now() + tonumber(ARGV[3])
redis.call('HSET', key, 'lease', string.format('%.6f', lease))
redis.call('ZADD', PARTS, lease, ARGV[1])
return 1
