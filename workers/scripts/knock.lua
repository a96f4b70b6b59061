-- Returns 1 if something waits in the stream and nobody was told so within the last second.
if redis.call('EXISTS', P .. 'ingress') == 0 then return 0 end
return redis.call('SET', P .. 'knocked', 1, 'NX', 'PX', 1000) and 1 or 0
