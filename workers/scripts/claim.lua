-- Take a part to work on. ARGV: part, token, lease (s), destination. Counts the attempt before any work is done.
-- Returns {'gone'}, {'taken'}, {'early', s} or {'claimed', route, rows, pieces, attempts, silent, first error's time}.
local part, token, lease, destination, t = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], now()
local key = P .. 'part:' .. part
local f = redis.call('HMGET', key, 'route', 'rows', 'pieces', 'token', 'lease', 'due', 'wait', 'since', 'flush', 'ordered')
if not f[1] then
  count(TOTALS, 'gone', 1)
  return {'gone'}
end
local repeated = f[4] == token -- the client did not hear the first answer
if f[4] and not repeated and not come(tonumber(f[5]), t, lease) then return {'taken'} end
if f[6] and not come(tonumber(f[6]) - 0.05, t, tonumber(f[7])) then return {'early', tostring(tonumber(f[6]) - t)} end
if f[10] == '1' and first_of(f[9]) ~= part then return {'early', '0'} end -- the parts of an ordered flush go in turn

local gate = P .. 'paused:' .. destination
if redis.call('EXISTS', gate) == 1 then
  local left = paused_for(destination, t)
  if left == 0 then -- it may be tried, by one part at a time
    local probe = redis.call('HGET', gate, 'probe')
    local ends = probe and probe ~= part and redis.call('HGET', P .. 'part:' .. probe, 'lease')
    if ends and not come(tonumber(ends), t, lease) then left = 1 end
  end
  if left > 0 then
    park(part, destination, t + left)
    return {'early', tostring(left)}
  end
  redis.call('HSET', gate, 'probe', part)
end

redis.call('HSET', key, 'token', token, 'lease', string.format('%.6f', t + lease))
redis.call('ZADD', PARTS, t + lease, part)
local attempts = redis.call('HINCRBY', key, 'attempts', repeated and 0 or 1)
local silent = redis.call('HINCRBY', key, 'silent', repeated and 0 or 1) -- claims that nobody has answered for yet
return {'claimed', f[1], f[2], f[3], attempts, silent, f[8] or ''}
