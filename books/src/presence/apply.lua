-- Brings the newest report of each of some sessions into the presence sets, if it is newer than the guard.
-- KEYS[1], KEYS[2]: the hashes old passkey -> new and v2 info hash -> v1; what an old name's entry says is
-- the new one's. ARGV: guard base, lease key, seed base, leech base, seed members base, leech members base;
-- then for each session: passkey, info hash, peer id, ordered place, state (s, l, g, or x: forget), due.
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

local aliases = KEYS[1] and redis.call('EXISTS', KEYS[1]) == 1
local torrent_aliases = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1

for i = 7, #ARGV, 6 do
  local passkey, hash, peer = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local place, state, due = ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if aliases then passkey = redis.call('HGET', KEYS[1], passkey) or passkey end
  if torrent_aliases then hash = redis.call('HGET', KEYS[2], hash) or hash end
  local guard, field = guards .. passkey, hash .. ':' .. peer
  local before = redis.call('HGET', guard, field)
  -- A guard of an earlier version has the entry's id only, whose first 20 digits are a time, too.
  if before and #before < 61 then before = string.sub(before, 1, 20) .. before end
  if not before or string.sub(before, 1, 60) < place then
    local was = before and string.sub(before, 61, 61)
    if was ~= state then
      if was and user_set[was] then leave(was, passkey, hash, peer) end
      if user_set[state] then join(state, passkey, hash, peer) end
    end
    if state ~= 'x' then
      redis.call('HSET', guard, field, place .. state .. due)
      -- A lease that only grows keeps its place: the sweep looks too early, reads the guard and moves it on.
      if not before or tonumber(due) < tonumber(string.sub(before, 62)) then
        redis.call('ZADD', lease, due, passkey .. ':' .. field)
      end
    elseif before then
      redis.call('HDEL', guard, field)
      redis.call('ZREM', lease, passkey .. ':' .. field)
    end
  end
end
