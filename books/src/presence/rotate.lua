-- Moves sessions to their new names: a rotated passkey's, or those of a hybrid torrent's second info hash. Of
-- two guards of one session the newer one stays. ARGV: guard base, lease key, seed base, leech base, seed
-- members base, leech members base; then for each session the old passkey, `<info hash>:<peer id>` as it was,
-- and both as they are now. Returns how many were there.
local guards, lease = ARGV[1], ARGV[2]
local user_set = { s = ARGV[3], l = ARGV[4] }
local member_set = { s = ARGV[5], l = ARGV[6] }

local function leave(state, passkey, hash, peer)
  local members = member_set[state] .. passkey .. ':' .. hash
  redis.call('SREM', members, peer)
  if redis.call('EXISTS', members) == 0 then
    redis.call('SREM', user_set[state] .. passkey, hash)
  end
end

local function join(state, passkey, hash, peer)
  redis.call('SADD', member_set[state] .. passkey .. ':' .. hash, peer)
  redis.call('SADD', user_set[state] .. passkey, hash)
end

-- A guard of an earlier version has the entry's id only, whose first 20 digits are a time, too.
local function placed(guard)
  if guard and #guard < 61 then return string.sub(guard, 1, 20) .. guard end
  return guard
end

local moved = 0
for i = 7, #ARGV, 4 do
  local old, old_field, new, field = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local old_hash, old_peer = string.match(old_field, '^(%x+):(%x+)$')
  local hash, peer = string.match(field, '^(%x+):(%x+)$')
  local guard = old_hash and hash and placed(redis.call('HGET', guards .. old, old_field))
  if guard then
    local state, was = string.sub(guard, 61, 61), placed(redis.call('HGET', guards .. new, field))
    if not was or string.sub(was, 1, 60) < string.sub(guard, 1, 60) then
      local before = was and string.sub(was, 61, 61)
      if before ~= state then
        if before and user_set[before] then leave(before, new, hash, peer) end
        if user_set[state] then join(state, new, hash, peer) end
      end
      redis.call('HSET', guards .. new, field, guard)
      -- Looked at too early is no harm: the sweep reads the guard and moves the lease on.
      redis.call('ZADD', lease, string.sub(guard, 62), new .. ':' .. field)
    end
    if user_set[state] then leave(state, old, old_hash, old_peer) end
    redis.call('HDEL', guards .. old, old_field)
    redis.call('ZREM', lease, old .. ':' .. old_field)
    moved = moved + 1
  end
end
return moved
