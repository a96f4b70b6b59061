-- Say who holds which part. Returns a flat list: part, token, part, token …
local t, held = now(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', PARTS, t, '+inf')) do
  local token = redis.call('HGET', P .. 'part:' .. id, 'token')
  if token then
    held[#held + 1] = id
    held[#held + 1] = token
  end
end
return held
