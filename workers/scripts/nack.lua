-- Give a part back for later. ARGV: part, token, seconds to wait, 1 if the attempt counts, what went wrong, destination.
-- Returns 1, or 0 if the part is no longer held with this token.
local part, wait, counted, destination, t = ARGV[1], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[6], now()
local key = P .. 'part:' .. part
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
local silent = number(key, 'silent')
redis.call('HDEL', key, 'token', 'lease')
redis.call('HSET', key, 'due', string.format('%.6f', t + wait), 'wait', wait, 'silent', 0, 'error', ARGV[5])
redis.call('HSETNX', key, 'since', string.format('%.3f', t))
-- Claims whose workers died are not attempts: only what was answered for uses up a route's retries.
redis.call('HINCRBY', key, 'attempts', 1 - silent - (counted and 0 or 1))
redis.call('ZADD', PARTS, t + wait + 1, part) -- Celery's own retry is the first nudge; the sweep comes a second later
local left = paused_for(destination, t)
if left > 0 then
  park(part, destination, t + math.max(left, wait))
elseif counted then
  resume(destination, t)
end
return 1
