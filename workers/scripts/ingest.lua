-- Accept what one entry of the stream holds, and delete the entry. ARGV: entry, then what accept.lua takes.
-- Returns what accept.lua answers, or {'gone', '', 0} if another was first. A busy fleet leaves the entry where it is.
local entry = table.remove(ARGV, 1)
local INGRESS, COUNTED = P .. 'ingress', P .. 'counted'
if #redis.call('XRANGE', INGRESS, entry, entry) == 0 then return {'gone', '', 0} end
local counted = tonumber(redis.call('HGET', COUNTED, entry) or '0')
local low, closed = tonumber(ARGV[10]), redis.call('EXISTS', P .. 'closed') == 1
-- Bytes that are held already must not keep themselves out: nothing would ever drain them.
if counted > 0 then ARGV[9], ARGV[10] = '1e18', '1e18' end
-- Nor may a Redis that holds nothing else: if it is still nearly full afterwards, the next sweep says so again.
if number(TOTALS, 'batches') == 0 then redis.call('DEL', P .. 'crowded') end
local answer = accept()
if answer[1] == 'busy' or answer[1] == 'expired' then return answer end
redis.call('XDEL', INGRESS, entry)
redis.call('HDEL', COUNTED, entry)
count(TOTALS, 'bytes', -counted)
if closed and number(TOTALS, 'bytes') > low then redis.call('SET', P .. 'closed', 1) end
return answer
