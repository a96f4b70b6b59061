-- Helpers that every script begins with. Read and check first, write last: an error does not undo writes.
local P = 'candlefleet:'
local TOTALS, UNROUTED, ROUTING, ROUTERS = P .. 'totals', P .. 'unrouted', P .. 'routing', P .. 'routers'
local PARTS, OWING, KNOWN, DEAD = P .. 'parts', P .. 'owing', P .. 'known', P .. 'dead'

local function now() -- seconds, to the microsecond
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

local function count(key, field, n)
  if n ~= 0 then redis.call('HINCRBY', key, field, string.format('%d', n)) end
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

-- Dead letters come as (route, letter) pairs of arguments; letters are JSON text.
local function bury(first)
  for i = first, #ARGV, 2 do
    redis.call('XADD', DEAD, '*', 'route', ARGV[i], 'letter', ARGV[i + 1])
    count(TOTALS, 'bytes', #ARGV[i + 1])
    count(TOTALS, 'letters', 1)
    -- Python writes JSON that cjson cannot read, such as half a surrogate pair; to stop here would be half a step.
    local read, letter = pcall(cjson.decode, ARGV[i + 1])
    for _, reason in ipairs(read and letter.reasons or {}) do count(P .. 'reasons', reason.code, 1) end
  end
end

local function free(batch_id)
  local key = P .. 'batch:' .. batch_id
  count(TOTALS, 'bytes', -number(key, 'bytes'))
  count(TOTALS, 'batches', -1)
  redis.call('DEL', key)
end

-- The part of a flush whose rows come first: the halves of a split part are named in order.
local function first_of(flush)
  local first
  for _, id in ipairs(redis.call('SMEMBERS', P .. 'flush:' .. flush)) do
    if not first or id < first then first = id end
  end
  return first
end

-- A route above its max_owed (0: none) closes the door for everyone until it is 20 % below.
local function weigh(route)
  local key = P .. 'route:' .. route
  local limit = number(key, 'max_owed')
  local owed = number(key, 'pending') + number(key, 'parted')
  if limit > 0 and owed > limit then
    redis.call('SADD', P .. 'full', route)
  elseif limit == 0 or owed <= 0.8 * limit then
    redis.call('SREM', P .. 'full', route)
  end
end
