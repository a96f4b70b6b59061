-- candlefleet_add: put a message into the stream. KEYS: the stream. ARGV: JSON text, then, if you like, the batch id.
-- Answers the id of the entry, or an error that begins with BUSY (send again later) or SIZE (send smaller ones).
local INGRESS, COUNTED, MARKS, CLOSED = P .. 'ingress', P .. 'counted', P .. 'marks', P .. 'closed'

-- Somebody may have deleted entries by hand, or trimmed the stream: nobody holds their bytes any more.
local function forget_the_deleted()
  for _, bytes in ipairs(redis.call('HVALS', COUNTED)) do count(TOTALS, 'bytes', -tonumber(bytes)) end
  redis.call('DEL', COUNTED)
end

local function refused(size)
  local marks = redis.call('HMGET', MARKS, 'high', 'low', 'size')
  local high, low, most = tonumber(marks[1]), tonumber(marks[2]), tonumber(marks[3])
  if not high then return 'BUSY no worker has started yet: start one and send again' end
  if size > most then return string.format('SIZE %d bytes are more than the %d a message may hold', size, most) end
  local full = redis.call('SRANDMEMBER', P .. 'full')
  if full then return 'BUSY route ' .. full .. ' owes more than its max_owed: send again when it has drained' end
  local crowd = redis.call('GET', P .. 'crowded')
  if crowd then return 'BUSY ' .. crowd .. ': send again when it has drained' end
  local held, closed = number(TOTALS, 'bytes'), redis.call('EXISTS', CLOSED) == 1
  if held + size > high or closed and held > low then
    redis.call('SET', CLOSED, 1)
    return string.format('BUSY %d of %d bytes are held: send again when they have drained', held, high)
  end
  if closed then redis.call('DEL', CLOSED) end
end

local function add(keys, args)
  if #keys ~= 1 or keys[1] ~= INGRESS or #args < 1 or #args > 2 then
    return redis.error_reply('ERR use it so: FCALL candlefleet_add 1 ' .. INGRESS .. " '<json>' [id]")
  end
  if redis.call('EXISTS', INGRESS) == 0 then forget_the_deleted() end
  local size = #args[1] + #(args[2] or '')
  local refusal = refused(size)
  if refusal then return redis.error_reply(refusal) end
  local fields = {'json', args[1]}
  if args[2] then fields = {'json', args[1], 'id', args[2]} end
  local entry = redis.call('XADD', INGRESS, '*', unpack(fields))
  redis.call('HSET', COUNTED, entry, size)
  count(TOTALS, 'bytes', size)
  return entry
end

redis.register_function('candlefleet_add', add)
