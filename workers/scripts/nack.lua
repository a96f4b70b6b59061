-- Give a part back for later. ARGV: part, token, seconds to wait, 1 if the attempt counts, what went wrong.
-- Returns 1, or 0 if the part is no longer held with this token.
local key, t = P .. 'part:' .. ARGV[1], now()
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
local silent = number(key, 'silent')
local due = t + tonumber(ARGV[3])
redis.call('HDEL', key, 'token', 'lease')
redis.call('HSET', key, 'due', string.format('%.6f', due), 'silent', 0, 'error', ARGV[5])
redis.call('HSETNX', key, 'since', string.format('%.3f', t))
-- Claims whose workers died are not attempts: only what was answered for uses up a route's retries.
redis.call('HINCRBY', key, 'attempts', 1 - silent - (ARGV[4] == '0' and 1 or 0))
redis.call('ZADD', PARTS, due + 1, ARGV[1]) -- Celery's own retry is the first nudge; the sweep comes a second later
return 1
