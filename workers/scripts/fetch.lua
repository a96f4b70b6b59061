-- Take the next message of a list, if it is still the one that was looked at: note that somebody holds it, or bury it.
-- ARGV: list, digest of the message, then either 'hold', the two keys of kombu's notes, tag, time, note,
-- or 'bury' and (route, letter) pairs.
-- Returns 'taken', 'gone' if another was first, or 'full' if there is no room for the letter: the message is then the
-- last of its list, so that the others come first.
local message = redis.call('LINDEX', ARGV[1], -1)
if not message or redis.sha1hex(message) ~= ARGV[2] then return 'gone' end
if ARGV[3] == 'bury' and crowded(4) then
  redis.call('LMOVE', ARGV[1], ARGV[1], 'RIGHT', 'LEFT')
  return 'full'
end
redis.call('RPOP', ARGV[1])
if ARGV[3] == 'hold' then
  redis.call('HSET', ARGV[4], ARGV[6], ARGV[8])
  redis.call('ZADD', ARGV[5], ARGV[7], ARGV[6])
else
  bury(4)
end
return 'taken'
