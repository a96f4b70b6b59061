-- Read what waits in the stream, oldest first, and leave it there. ARGV: most entries, most bytes (one entry comes anyway).
local INGRESS, found, bytes, from = P .. 'ingress', {}, 0, '-'
while #found < tonumber(ARGV[1]) do
  local entry = redis.call('XRANGE', INGRESS, from, '+', 'COUNT', 1)[1]
  if not entry then break end
  for _, value in ipairs(entry[2]) do bytes = bytes + #value end
  if #found > 0 and bytes > tonumber(ARGV[2]) then break end
  found[#found + 1] = entry
  from = '(' .. entry[1]
end
return found
