-- Looks at the leases that are due: a silent peer leaves the sets, a guard nobody needs is forgotten, a lease
-- that was renewed meanwhile moves on. Leases that are further ahead than any can be come from a clock that
-- was ahead once: they are brought back as if their peers had last been heard now. ARGV: guard base, lease
-- key, seed base, leech base, seed members base, leech members base, judged at, how many at most, seconds
-- for which a guard is kept after its report, now (without it: judged at). Returns {examined, expired}.
local guards, lease = ARGV[1], ARGV[2]
local user_set = { s = ARGV[3], l = ARGV[4] }
local member_set = { s = ARGV[5], l = ARGV[6] }
local judged, memory = tonumber(ARGV[7]), tonumber(ARGV[9])
local now = tonumber(ARGV[10] or ARGV[7])
-- Clocks of one site differ by less.
local SLACK = 300

local function leave(state, passkey, hash, peer)
  local members = member_set[state] .. passkey .. ':' .. hash
  redis.call('SREM', members, peer)
  if redis.call('EXISTS', members) == 0 then
    redis.call('SREM', user_set[state] .. passkey, hash)
  end
end

local function integer(number)
  return string.format('%.0f', number)
end

-- The guard's place, state and due, the session's passkey, info hash, peer id and field.
local function read(member)
  local passkey, hash, peer = string.match(member, '^([^:]+):(%x+):(%x+)$')
  local field = (hash or '') .. ':' .. (peer or '')
  local value = passkey and redis.call('HGET', guards .. passkey, field)
  if not value then return nil end
  if #value < 61 then value = string.sub(value, 1, 20) .. value end
  return string.sub(value, 1, 60), string.sub(value, 61, 61), tonumber(string.sub(value, 62)), passkey, hash, peer,
    field
end

local due_now = redis.call('ZRANGEBYSCORE', lease, '-inf', ARGV[7], 'LIMIT', 0, ARGV[8])
local expired = 0
for _, member in ipairs(due_now) do
  local place, state, due, passkey, hash, peer, field = read(member)
  if not place then
    redis.call('ZREM', lease, member)
  else
    local guard = guards .. passkey
    if due <= judged and user_set[state] then
      leave(state, passkey, hash, peer)
      expired = expired + 1
      state, due = 'g', math.floor(tonumber(string.sub(place, 1, 20)) / 1000) + memory
      redis.call('HSET', guard, field, place .. state .. integer(due))
    end
    if due <= judged then
      redis.call('HDEL', guard, field)
      redis.call('ZREM', lease, member)
    else
      redis.call('ZADD', lease, integer(due), member)
    end
  end
end

local far = integer(now + memory + SLACK)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', lease, far, '+inf', 'LIMIT', 0, ARGV[8])) do
  local place, state, due, passkey, _, _, field = read(member)
  if not place then
    redis.call('ZREM', lease, member)
  else
    local seen = math.floor(tonumber(string.sub(place, 1, 20)) / 1000)
    local lasts = math.max(0, math.min(due - seen, memory))
    if seen > now + SLACK then
      place = string.format('%020.0f', now * 1000) .. string.sub(place, 21)
    end
    redis.call('HSET', guards .. passkey, field, place .. state .. integer(now + lasts))
    redis.call('ZADD', lease, integer(now + lasts), member)
  end
end
return { #due_now, expired }
