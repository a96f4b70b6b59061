-- Leave a destination alone for a while, for the whole fleet. ARGV: destination, seconds it asked for (or ''),
-- seconds of the first wait, most seconds of a wait of our own, what it said.
-- Waits double from failure to failure; parts that were on their way when it was paused count as one failure.
-- Returns the seconds it is left alone.
local destination, asked, t = ARGV[1], tonumber(ARGV[2]), now()
local gate = P .. 'paused:' .. destination
local left = paused_for(destination, t)
if left > 0 and (asked or 0) <= left then return tostring(left) end
local failures = redis.call('HINCRBY', gate, 'failures', left > 0 and 0 or 1)
local wait = asked or math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ (failures - 1))
redis.call('HSET', gate, 'until', string.format('%.6f', t + wait), 'wait', wait, 'error', ARGV[5])
redis.call('HSETNX', gate, 'since', string.format('%.3f', t))
redis.call('SADD', P .. 'paused', destination)
return tostring(wait)
