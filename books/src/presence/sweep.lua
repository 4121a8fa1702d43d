-- Looks at the leases that are due: a silent peer leaves the sets, a guard nobody needs is forgotten, a lease
-- that was renewed meanwhile moves on. ARGV: guard base, lease key, seed base, leech base, seed members base,
-- leech members base, now, how many at most, seconds for which a guard is kept after its entry. Returns
-- {examined, expired}.
local guards, lease = ARGV[1], ARGV[2]
local user_set = { s = ARGV[3], l = ARGV[4] }
local member_set = { s = ARGV[5], l = ARGV[6] }
local now, memory = tonumber(ARGV[7]), tonumber(ARGV[9])

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

local due_now = redis.call('ZRANGEBYSCORE', lease, '-inf', ARGV[7], 'LIMIT', 0, ARGV[8])
local expired = 0
for _, member in ipairs(due_now) do
  local passkey, hash, peer = string.match(member, '^([^:]+):(%x+):(%x+)$')
  local guard, field = guards .. (passkey or ''), (hash or '') .. ':' .. (peer or '')
  local value = passkey and redis.call('HGET', guard, field)
  if not value then
    redis.call('ZREM', lease, member)
  else
    local id, state, due = string.sub(value, 1, 40), string.sub(value, 41, 41), tonumber(string.sub(value, 42))
    if due <= now and user_set[state] then
      leave(state, passkey, hash, peer)
      expired = expired + 1
      state, due = 'g', math.floor(tonumber(string.sub(id, 1, 20)) / 1000) + memory
      redis.call('HSET', guard, field, id .. state .. integer(due))
    end
    if due <= now then
      redis.call('HDEL', guard, field)
      redis.call('ZREM', lease, member)
    else
      redis.call('ZADD', lease, integer(due), member)
    end
  end
end
return { #due_now, expired }
