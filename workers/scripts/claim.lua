-- Take a part to work on. ARGV: part, token, lease (s). Counts the attempt before any work is done.
-- Returns {'gone'}, {'taken'}, {'early', s} or {'claimed', route, rows, pieces, attempts, silent, first error's time}.
local key, t = P .. 'part:' .. ARGV[1], now()
local f = redis.call('HMGET', key, 'route', 'rows', 'pieces', 'token', 'lease', 'due', 'since', 'flush', 'ordered')
if not f[1] then
  count(TOTALS, 'gone', 1)
  return {'gone'}
end
local repeated = f[4] == ARGV[2] -- the client did not hear the first answer
if f[4] and not repeated and tonumber(f[5]) > t then return {'taken'} end
if f[6] and tonumber(f[6]) > t + 0.05 then return {'early', tostring(tonumber(f[6]) - t)} end
if f[9] == '1' and first_of(f[8]) ~= ARGV[1] then return {'early', '0'} end -- halves of an ordered part go in turn
local lease = t + tonumber(ARGV[3])
redis.call('HSET', key, 'token', ARGV[2], 'lease', string.format('%.6f', lease))
redis.call('ZADD', PARTS, lease, ARGV[1])
local attempts = redis.call('HINCRBY', key, 'attempts', repeated and 0 or 1)
local silent = redis.call('HINCRBY', key, 'silent', repeated and 0 or 1) -- claims that nobody has answered for yet
return {'claimed', f[1], f[2], f[3], attempts, silent, f[7] or ''}
