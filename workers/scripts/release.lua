-- Take a part from a holder that is dead. ARGV: part, token. The attempt stays counted, and unanswered.
-- Returns 1, or 0 if the part is no longer held with this token.
local key = P .. 'part:' .. ARGV[1]
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
redis.call('HDEL', key, 'token', 'lease')
redis.call('ZADD', PARTS, now(), ARGV[1])
return 1
