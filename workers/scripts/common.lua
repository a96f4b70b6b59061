-- Helpers that every script begins with. Read and check first, write last: an error does not undo writes.
local P = 'candlefleet:'
local TOTALS, UNROUTED, ROUTING, ROUTERS = P .. 'totals', P .. 'unrouted', P .. 'routing', P .. 'routers'
local PARTS, OWING, KNOWN, DEAD = P .. 'parts', P .. 'owing', P .. 'known', P .. 'dead'

local function now() -- seconds, to the microsecond
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

-- Whether a moment has come. One further ahead than it was ever put off was set by a clock that has been put back.
local function come(at, t, ahead)
  return at <= t or at > t + ahead + 1
end

local function count(key, field, n)
  if n ~= 0 then redis.call('HINCRBY', key, field, string.format('%d', n)) end
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

-- Dead letters come as (route, letter) pairs of arguments; letters are JSON text.
-- Returns why there is no room for those from argument `first` on, or nil.
local function crowded(first)
  local more, most = 0, number(P .. 'marks', 'letters')
  for i = first, #ARGV, 2 do more = more + #ARGV[i + 1] end
  local held = number(TOTALS, 'letter_bytes')
  if more == 0 or most == 0 or held + more <= most then return nil end
  return string.format('dead letters hold %d of %d bytes: replay or drop some', held, most)
end

-- By route, how many dead letters and replays on their way name a batch: for that long its destination is to remember it.
local function name(route, batches, n)
  local key = P .. 'named:' .. route
  for _, id in ipairs(batches) do
    if redis.call('HINCRBY', key, id, n) <= 0 then redis.call('HDEL', key, id) end
  end
end

-- The batches whose rows a letter stands for. One that cannot be read may stand for any: that is ''.
local function batches_of(letter)
  if not letter then return {''} end
  return letter.batches or letter.batch_id ~= '' and {letter.batch_id} or {}
end

-- The batches that rows of a replay were of when they died, as they are kept with it.
local function batches_of_replay(replay)
  local found = {}
  for i, part in ipairs(replay[3]) do found[i] = part[1] end
  return found
end

-- A file that holds the rows of a letter is remembered for as long as the letter is there.
local function bury(first)
  for i = first, #ARGV, 2 do
    -- Python writes JSON that cjson cannot read, such as half a surrogate pair; to stop here would be half a step.
    local read, letter = pcall(cjson.decode, ARGV[i + 1])
    local file = read and letter.file
    redis.call('XADD', DEAD, '*', 'route', ARGV[i], 'letter', ARGV[i + 1], unpack(file and {'file', file} or {}))
    if file then redis.call('SADD', P .. 'spilled', file) end
    if ARGV[i] ~= '' then name(ARGV[i], batches_of(read and letter), 1) end
    count(TOTALS, 'bytes', #ARGV[i + 1])
    count(TOTALS, 'letter_bytes', #ARGV[i + 1])
    count(TOTALS, 'letters', 1)
    for _, reason in ipairs(read and letter.reasons or {}) do count(P .. 'reasons', reason.code, 1) end
  end
end

-- Which of the letters that some arguments name are not there.
local function missing_letters(first, last)
  local gone = {}
  for i = first, last do
    if #redis.call('XRANGE', DEAD, ARGV[i], ARGV[i]) == 0 then gone[#gone + 1] = ARGV[i] end
  end
  return gone
end

-- Remove the letters that some arguments name; return the ids of those that were there.
local function exhume(first, last)
  local found = {}
  for i = first, last do
    local entry = redis.call('XRANGE', DEAD, ARGV[i], ARGV[i])[1]
    if entry then
      redis.call('XDEL', DEAD, ARGV[i])
      if entry[2][6] then redis.call('SREM', P .. 'spilled', entry[2][6]) end
      local read, letter = pcall(cjson.decode, entry[2][4])
      if entry[2][2] ~= '' then name(entry[2][2], batches_of(read and letter), -1) end
      count(TOTALS, 'bytes', -#entry[2][4])
      count(TOTALS, 'letter_bytes', -#entry[2][4])
      count(TOTALS, 'letters', -1)
      found[#found + 1] = ARGV[i]
    end
  end
  return found
end

local function free(batch_id)
  local key = P .. 'batch:' .. batch_id
  local replay = redis.call('HGET', key, 'replay')
  replay = replay and replay ~= '' and cjson.decode(replay)
  if replay then name(replay[1], batches_of_replay(replay), -1) end
  count(TOTALS, 'bytes', -number(key, 'bytes'))
  count(TOTALS, 'batches', -1)
  redis.call('DEL', key)
end

-- Make a part of a flush. It is named after the row of the flush it begins with, so names sort as rows do, and after
-- a nonce where it comes of a split: no other part ever has its name, not even after Redis was set back in time.
local function make_part(flush, offset, nonce, look, fields)
  local id = string.format('%s-%07d%s', flush, offset, nonce == '' and '' or '-' .. nonce)
  redis.call('HSET', P .. 'part:' .. id, 'flush', flush, 'offset', offset, unpack(fields))
  redis.call('ZADD', PARTS, look, id)
  redis.call('SADD', P .. 'flush:' .. flush, id)
  return id
end

-- The part of a flush whose rows come first.
local function first_of(flush)
  local first
  for _, id in ipairs(redis.call('SMEMBERS', P .. 'flush:' .. flush)) do
    if not first or id < first then first = id end
  end
  return first
end

-- Seconds for which a destination is still to be left alone; 0: it may be tried.
local function paused_for(destination, t)
  local f = redis.call('HMGET', P .. 'paused:' .. destination, 'until', 'wait')
  if not f[1] or come(tonumber(f[1]), t, tonumber(f[2])) then return 0 end
  return tonumber(f[1]) - t
end

-- Let a part wait until its destination answers again.
local function park(part, destination, look)
  redis.call('ZADD', PARTS, look, part)
  redis.call('SADD', P .. 'parked:' .. destination, part)
end

-- A destination answers: whatever waited for that goes on.
local function resume(destination, t)
  if redis.call('DEL', P .. 'paused:' .. destination) == 0 then return end
  redis.call('SREM', P .. 'paused', destination)
  for _, part in ipairs(redis.call('SMEMBERS', P .. 'parked:' .. destination)) do
    if redis.call('EXISTS', P .. 'part:' .. part) == 1 then redis.call('ZADD', PARTS, 'LT', t, part) end
  end
  redis.call('DEL', P .. 'parked:' .. destination)
end

-- Whether the router is to be nudged: once a second is enough.
local function nudge_router(t)
  local last = tonumber(redis.call('GET', P .. 'nudged') or '0')
  if not come(last + 1, t, 1) then return 0 end
  redis.call('SET', P .. 'nudged', string.format('%.6f', t))
  return 1
end

-- A route above its max_owed closes the door for everyone until it is 20 % below. 0: there is no limit; below 0: the
-- door stays open, and the oldest rows above the limit become dead letters.
local function weigh(route)
  local key = P .. 'route:' .. route
  local limit = number(key, 'max_owed')
  local owed = number(key, 'pending') + number(key, 'parted')
  if limit > 0 and owed > limit then
    redis.call('SADD', P .. 'full', route)
  elseif limit <= 0 or owed <= 0.8 * limit then
    redis.call('SREM', P .. 'full', route)
  end
end
