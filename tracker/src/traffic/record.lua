-- Books a batch of announces, as the tracker has computed them: for each one, if the session's snapshot is
-- the one that it was computed from, appends the event and keeps the next snapshot, in one atomic step.
-- Otherwise it shows what there is, and the tracker computes again. Running it again with the same arguments
-- books nothing.
--
-- KEYS[1]     the stream
-- KEYS[2]     progress of the tracker that numbered the announces: a hash with `booked`, the highest number
--             that was seen to, `open`, numbers up to that one that were not booked, and `call`, its own last
--             call
-- KEYS[3]     the stream's head: a hash with `n`, the last entry's number, and the site's clock in ms with
--             Redis' own at that moment, `clock` and `time`
-- KEYS[3+i]   the snapshot of announce i
-- ARGV[1..4]  TTL of this tracker's progress (s), the last of its calls that the tracker knows to be carried
--             out (0: none), the highest number of the batch, the time that it expects of the site's clock
--             (0: none)
-- ARGV[5..8]  hashes: old passkey -> new, new passkey -> the old one that is being folded into it, v2 info
--             hash -> v1, v1 -> the v2 that is being folded into it
-- ARGV[9]     what snapshots' names begin with
-- ARGV[10]    the announces in MessagePack, one value behind the other in the order of the variables below
-- ARGV[11]    snapshots to fold in MessagePack, three values for each: the announce, the name, what it holds
-- ARGV[12..14] the hash with the calling tracker's own progress, which is not KEYS[2] when it books what
--             another process has left behind; the number of this call (0: none); numbers that are still to
--             come although the batch has higher ones
-- ARGV[15..16] the time by the calling tracker's own clock; by how much Redis' own clock is ahead of the
--             site's, as far as that tracker knows
--
-- Answers: how many announces it has seen to, the site's clock, by how much Redis' own is ahead of it, and an
-- array for each announce that was not simply booked: its place, a word, and what belongs to that. A Redis
-- that has carried out fewer calls than the tracker knows of went back in time: it books nothing, and the
-- first value of the answer is -1, the last two the last call that it knows and the highest number of that
-- tracker's own.
--
-- A snapshot holds the public fields uploaded, downloaded, port, ip, af, ts, and `claims`, `claims2`,
-- `claims3`: the session as the crate `claims` writes it, in pieces of at most 64 bytes, so that Redis keeps
-- the hash in its compact form. The first piece has a digest of all, so comparing that is enough.
--
-- This is where Redis spends its time: on each command, each of its arguments, and each text that Lua has not
-- seen before. So what can be computed elsewhere is, and the usual announce takes three commands.

local STREAM, PROGRESS, HEAD = KEYS[1], KEYS[2], KEYS[3]
local KNOWN_CALL, NEWEST, EXPECTED_TIME = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ALIASES, ROTATING, TORRENT_ALIASES, FOLDING = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local PREFIX, BATCH = ARGV[9], ARGV[10]
local OWN, CALL, TO_COME = ARGV[12], tonumber(ARGV[13]), ARGV[14]
local GUESSED_TIME, AHEAD = tonumber(ARGV[15]), tonumber(ARGV[16])
local WIDTH = 28
local MOST_BACK = 100000
-- Milliseconds for which a call travels at most.
local MOST_TRAVEL = 60000
-- Milliseconds by which two clocks that nobody has set differ at most. Beyond that the one by which less went
-- by is believed: a site's clock that is ahead stays so for long.
local TOLERATED = 5000
-- Flags of an announce.
local MOVED, IDLE, LATE, LONG = 1, 2, 4, 8

local call, attempt = redis.call, redis.pcall
local taken, format = cmsgpack.unpack_limit, string.format

local function int(number) return format('%d', number) end

local head = call('HMGET', HEAD, 'n', 'clock', 'time')
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A tracker that was told no time yet goes on from the last one by Redis' own clock, and by its own where
-- somebody has set Redis' since.
local clock, clock_at = tonumber(head[2]), now
if EXPECTED_TIME > 0 then
  clock = math.max(clock or 0, EXPECTED_TIME)
  -- The call may have travelled for long: it knows better how far the clocks differ than what time it is,
  -- unless somebody has set Redis' since.
  if now >= clock + AHEAD and now <= clock + AHEAD + MOST_TRAVEL then clock_at = clock + AHEAD end
elseif clock then
  local since, guessed = now - tonumber(head[3] or now), GUESSED_TIME - clock
  if since < 0 or (guessed >= 0 and guessed + TOLERATED < since) then since = math.max(0, guessed) end
  clock = clock + since
else
  clock = now
end

local progress = call('HMGET', PROGRESS, 'booked', 'open', 'call')
local booked = tonumber(progress[1]) or 0
local last_call = tonumber((OWN == PROGRESS and progress[3] or OWN ~= PROGRESS and call('HGET', OWN, 'call')) or 0)
if last_call < KNOWN_CALL then
  return { -1, clock, now - clock, last_call, tonumber(call('HGET', OWN, 'booked')) or 0 }
end
local open = {}
for number in string.gmatch(progress[2] or '', '%d+') do open[tonumber(number)] = true end
for number in string.gmatch(TO_COME, '%d+') do
  if tonumber(number) > booked then open[tonumber(number)] = true end
end

local n = tonumber(head[1])
if not n then
  -- Somebody removed the head: the stream's last entry knows.
  local last = call('XREVRANGE', STREAM, '+', '-', 'COUNT', 1)[1]
  local fields = last and last[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then n = tonumber(fields[i + 1]) end
  end
  n = n or 0
end

-- The first write of all: a Redis that takes none (a replica, no memory, no disk) says so here, before
-- anything is booked.
local noted = attempt('HSET', HEAD, 'clock', int(clock), 'time', int(clock_at))
if type(noted) == 'table' and noted.err then return noted end

-- The announce in hand.
local seq, expected, passkey, infohash, peer_id, port, ip, af, du, dd, left, event, ts, dt, interval, min_interval,
  at, up, down, born, tu, td, claims, claims2, claims3, ttl, flags, more

local folds, at_fold = {}, 0
while ARGV[11] ~= '' and at_fold >= 0 do
  local place, folded, held
  at_fold, place, folded, held = taken(ARGV[11], 3, at_fold)
  folds[place] = { folded, held }
end

local function append()
  n = n + 1
  local added
  if more == '' then
    added = attempt('XADD', STREAM, '*', 'passkey', passkey, 'infohash', infohash, 'peer_id', peer_id, 'port', port,
      'ip', ip, 'af', af, 'du', du, 'dd', dd, 'left', left, 'event', event, 'ts', ts, 'dt', dt, 'interval', interval,
      'min_interval', min_interval, 'at', at, 'up', up, 'down', down, 'born', born, 'tu', tu, 'td', td, 'n', int(n))
  else
    local entry = { 'passkey', passkey, 'infohash', infohash, 'peer_id', peer_id, 'port', port, 'ip', ip, 'af', af,
      'du', du, 'dd', dd, 'left', left, 'event', event, 'ts', ts, 'dt', dt, 'interval', interval,
      'min_interval', min_interval, 'at', at, 'up', up, 'down', down, 'born', born, 'tu', tu, 'td', td, 'n', int(n) }
    local words = { taken(more, 16, 0) }
    for i = 2, #words do entry[#entry + 1] = words[i] end
    added = attempt('XADD', STREAM, '*', unpack(entry))
  end
  if type(added) == 'table' and added.err then
    n = n - 1
    return added.err
  end
end

local function has(flag) return flags % (flag + flag) >= flag end

local function keep(key)
  if flags == 0 then
    call('HSET', key, 'uploaded', up, 'downloaded', down, 'ts', ts, 'claims', claims)
  else
    local fields = { 'ts', ts, 'claims', claims }
    local function add(name, value) fields[#fields + 1] = name; fields[#fields + 1] = value end
    if not has(LATE) then add('uploaded', up); add('downloaded', down) end
    if has(MOVED) then add('port', port); add('ip', ip); add('af', af) end
    if has(LONG) then add('claims2', claims2); add('claims3', claims3) end
    call('HSET', key, unpack(fields))
  end
  if ttl > 0 then call('EXPIRE', key, ttl) end
end

-- What the comparison sees.
local function first_part(key)
  local part = attempt('HGET', key, 'claims')
  if part then return part end
  return whole(key)
end

-- Trackers know of an alias within a second, and their spools never: only here can nobody book on the old
-- name once there is a new one. Hardly ever is a rotation under way.
local HAS_ALIASES, HAS_TORRENT_ALIASES = call('EXISTS', ALIASES) == 1, call('EXISTS', TORRENT_ALIASES) == 1
local HAS_ROTATIONS = HAS_ALIASES and call('EXISTS', ROTATING) == 1
local HAS_FOLDINGS = HAS_TORRENT_ALIASES and call('EXISTS', FOLDING) == 1

local function name(user, torrent) return PREFIX .. user .. ':' .. torrent .. ':' .. peer_id end

-- What stands between the announce and its snapshot by its name, or nil.
local function other_name(i, key)
  local user = HAS_ALIASES and call('HGET', ALIASES, passkey) or passkey
  local torrent = HAS_TORRENT_ALIASES and call('HGET', TORRENT_ALIASES, infohash) or infohash
  if user ~= passkey or torrent ~= infohash then return { i, 'renamed', user, torrent } end
  local old_user = HAS_ROTATIONS and call('HGET', ROTATING, passkey)
  local old_torrent = HAS_FOLDINGS and call('HGET', FOLDING, infohash)
  for _, source in ipairs({ { old_user, infohash }, { passkey, old_torrent }, { old_user, old_torrent } }) do
    local held = source[1] and source[2] and whole(name(source[1], source[2]))
    if held and not (folds[i] and folds[i][1] == name(source[1], source[2]) and folds[i][2] == held) then
      return { i, 'folding', whole(key), source[1], source[2], held }
    end
    if held then return end
  end
end

local function record(i, key)
  if HAS_ROTATIONS or HAS_ALIASES or HAS_TORRENT_ALIASES then
    local other = other_name(i, key)
    if other then return other end
  end
  local present = first_part(key)
  if type(present) == 'table' then return { i, 'failed', present.err } end
  if (present or '') ~= expected then return { i, 'stale', whole(key) } end
  if not has(IDLE) then
    local refused = append()
    if refused then return { i, 'unwritable', refused } end
  end
  keep(key)
  if folds[i] then call('DEL', folds[i][1]) end
end

local answer, offset = { #KEYS - 3, clock, now - clock }, 0
local still_open = {}
for i = 1, #KEYS - 3 do
  offset, seq, expected, passkey, infohash, peer_id, port, ip, af, du, dd, left, event, ts, dt, interval, min_interval,
    at, up, down, born, tu, td, claims, claims2, claims3, ttl, flags, more = taken(BATCH, WIDTH, offset)
  local remark
  if seq <= booked and not open[seq] then
    remark = { i, 'repeated' }
  else
    remark = record(i, KEYS[3 + i])
    open[seq] = remark and true or nil
  end
  if remark then answer[#answer + 1] = remark end
end
for number in pairs(open) do
  -- One that a foreign value keeps from being booked is open for a while only.
  if number + MOST_BACK > NEWEST then still_open[#still_open + 1] = int(number) end
end
local now_booked, now_called = int(math.max(booked, NEWEST)), int(math.max(last_call, CALL))
local now_open = table.concat(still_open, ' ')
if OWN == PROGRESS then
  call('HSET', PROGRESS, 'booked', now_booked, 'open', now_open, 'call', now_called)
else
  call('HSET', PROGRESS, 'booked', now_booked, 'open', now_open)
  call('HSET', OWN, 'call', now_called)
  call('EXPIRE', OWN, ARGV[1])
end
call('EXPIRE', PROGRESS, ARGV[1])
if n ~= tonumber(head[1]) then call('HSET', HEAD, 'n', int(n)) end
return answer
