-- Returns 1 if something waits in the stream and nobody was told so within the last second.
if redis.call('EXISTS', P .. 'ingress') == 0 then return 0 end
local t = now()
if not come(tonumber(redis.call('GET', P .. 'knocked') or '0') + 1, t, 1) then return 0 end
redis.call('SET', P .. 'knocked', string.format('%.6f', t))
return 1
