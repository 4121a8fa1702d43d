-- Compares one user's guards, leases and sets with each other and with what the stream says, and mends them
-- if told to. ARGV: guard base, lease key, seed base, leech base, seed members base, leech members base,
-- `look` or `mend`, the span of entries that the stream can speak of (ordered ids: from, before), now,
-- seconds for which a guard is kept after its entry, how many findings to return, passkey, how many sessions
-- follow; for each session its newest report within the span: `infohash:peer_id`, ordered place, state (s, l,
-- g), due; then info hashes to look at besides. Returns {sessions seeding, sessions leeching, differences,
-- {kind, what, ...}, {session, ordered place, ...} of those present whose entry is older than the span}.
local guards, lease = ARGV[1], ARGV[2]
local user_set = { s = ARGV[3], l = ARGV[4] }
local member_set = { s = ARGV[5], l = ARGV[6] }
local mending, from, before = ARGV[7] == 'mend', ARGV[8], ARGV[9]
local now, memory, most = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local passkey, sessions = ARGV[13], tonumber(ARGV[14])
local guard = guards .. passkey
local differences, findings = 0, {}

local function differs(kind, what)
  differences = differences + 1
  if differences <= most then
    findings[#findings + 1] = kind
    findings[#findings + 1] = what
  end
end

local function mend(...)
  if mending then redis.call(...) end
end

local known, written = {}, {}
local flat = redis.call('HGETALL', guard)
-- A guard of an earlier version has the entry's id only, whose first 20 digits are a time, too.
for i = 1, #flat, 2 do
  local value = flat[i + 1]
  known[flat[i]] = #value < 61 and string.sub(value, 1, 20) .. value or value
end

-- Guards against the newest entries. What lies beyond the span was applied by a consumer meanwhile.
local supported = {}
for i = 15, 14 + 4 * sessions, 4 do
  local field, place, state, due = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local value = known[field]
  local held, was = value and string.sub(value, 21, 60), value and string.sub(value, 61, 61)
  local lapsed = state ~= 'g' and due <= now
  supported[field] = true
  local same = held == string.sub(place, 21) and (was == state or (was == 'g' and lapsed))
  local newer = held and (held >= before or (held < from and string.sub(value, 1, 60) > place))
  if not same and not newer then
    differs(value and 'guard_differs' or 'guard_missing', field)
    if lapsed then
      state, due = 'g', math.floor(tonumber(string.sub(place, 1, 20)) / 1000) + memory
    end
    local due_text = string.format('%.0f', due)
    known[field], written[field] = place .. state .. due_text, true
    mend('HSET', guard, field, known[field])
    mend('ZADD', lease, due_text, passkey .. ':' .. field)
  end
end

-- Guards that no entry supports, and leases that would come too late or never.
for field, value in pairs(known) do
  local id, due = string.sub(value, 21, 60), string.sub(value, 62)
  if not supported[field] and id >= from and id < before then
    differs('guard_without_entry', field)
    mend('HDEL', guard, field)
    mend('ZREM', lease, passkey .. ':' .. field)
    known[field] = nil
  elseif not written[field] then
    local score = redis.call('ZSCORE', lease, passkey .. ':' .. field)
    if not score or tonumber(score) > tonumber(due) then
      differs('lease_missing', field)
      mend('ZADD', lease, due, passkey .. ':' .. field)
    end
  end
end

-- Sets against guards.
local wanted, present, older = { s = {}, l = {} }, { s = 0, l = 0 }, {}
for field, value in pairs(known) do
  local state = string.sub(value, 61, 61)
  if wanted[state] then
    local hash, peer = string.match(field, '^([^:]+):([^:]+)$')
    wanted[state][hash] = wanted[state][hash] or {}
    wanted[state][hash][peer] = true
    present[state] = present[state] + 1
    if string.sub(value, 21, 60) < from and #older < 2 * most then
      older[#older + 1] = field
      older[#older + 1] = string.sub(value, 1, 60)
    end
  end
end

local looked_at, in_set = {}, { s = {}, l = {} }
for i = 15 + 4 * sessions, #ARGV do looked_at[ARGV[i]] = true end
for state, listed in pairs(in_set) do
  for hash in pairs(wanted[state]) do looked_at[hash] = true end
  for _, hash in ipairs(redis.call('SMEMBERS', user_set[state] .. passkey)) do
    looked_at[hash], listed[hash] = true, true
  end
end

for state, listed in pairs(in_set) do
  for hash in pairs(looked_at) do
    local key, want, there = member_set[state] .. passkey .. ':' .. hash, wanted[state][hash] or {}, {}
    for _, peer in ipairs(redis.call('SMEMBERS', key)) do
      there[peer] = true
      if not want[peer] then
        differs('member_extra', hash .. ':' .. peer)
        mend('SREM', key, peer)
      end
    end
    for peer in pairs(want) do
      if not there[peer] then
        differs('member_missing', hash .. ':' .. peer)
        mend('SADD', key, peer)
      end
    end
    if next(want) and not listed[hash] then
      differs('torrent_missing', hash)
      mend('SADD', user_set[state] .. passkey, hash)
    elseif not next(want) and listed[hash] then
      differs('torrent_extra', hash)
      mend('SREM', user_set[state] .. passkey, hash)
    end
  end
end
return { present.s, present.l, differences, findings, older }
