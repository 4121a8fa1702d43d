-- Books a batch of announces: for each one the delta against its session's snapshot, the new snapshot and the stream
-- entry, in one atomic step. Running it again with the same arguments books nothing.
--
-- KEYS[1]     the stream
-- KEYS[2]     how far this tracker's announces are booked: a hash with `booked`, its highest sequence number
-- KEYS[2+i]   the snapshot of announce i, under the passkey as the tracker knows it
-- ARGV[1..6]  tracker id, snapshot TTL (s), TTL after stopped (s), skip idle (0|1), credit a first `started` (0|1), the
--             highest number that the tracker knows to be booked (0: none)
-- ARGV[7..8]  the hash old passkey -> new, and the hash new passkey -> the old one whose snapshots are being folded into it
-- then 16 for each announce, in the order of its variables below
--
-- Answers one word for each announce, and `lost <n>` behind them when Redis has booked n numbers less than the tracker
-- was told: it restarted without its data, or a replica that lagged took over.
--
-- A snapshot holds the public fields uploaded, downloaded, port, ip, af, ts, and three of our own:
--   obs  "<observed ms> <left>[ s]"       the newest observation: what is older is a late re-send; `s` after a `stopped`
--   seq  "<tracker>:<n> ..."              the last sequence number booked per tracker; first the one that wrote `obs`
--   run  "<began ms> <up> <down> <ms>"    when the client's present run began, for each counter that fell then, where the run
--                                         before had got to (-1: it went on), and when that run had begun
-- Values stay below 64 bytes, so that Redis keeps the hash in its compact form.
--
-- Numbers are doubles: exact up to 2^53, which the tracker enforces. `%d` writes them without an exponent, as 64-bit integers.
--
-- This is where Redis spends its time, so the usual announce makes no table, and no text that it was given already.

local STREAM, BOOKED = KEYS[1], KEYS[2]
local ME, TTL, STOPPED_TTL = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local SKIP_IDLE, CREDIT_FIRST = ARGV[4] == '1', ARGV[5] == '1'
local CONFIRMED = tonumber(ARGV[6])
local ALIASES, ROTATING = ARGV[7], ARGV[8]
local HEADER, WIDTH = 8, 16
local TRACKERS_REMEMBERED = 3
-- A snapshot's lifetime is renewed once in this many seconds, and is longer by as much: every renewal costs as much as the rest
-- of the snapshot.
local RENEWAL = math.max(1, math.floor(TTL / 16))
-- Clients report `completed` up to some 70 kB higher than in the announce after it. That may be a `started`, too, at an
-- address or a tracker that has not answered one yet: only a counter that is small itself begins a new run within this.
local WOBBLE = 1048576
local MINE, NO_OTHERS = ME .. ':', {}

local call, attempt = redis.call, redis.pcall
local find, floor, format, match, max, sub = string.find, math.floor, string.format, string.match, math.max, string.sub

local time = call('TIME')
local NOW_MS = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)

-- The announce in hand. Counters and observation are numbers here; what was given as text is kept to be written as it came.
local passkey, infohash, peer_id, port, ip, af, up_text, down_text, left, event, obs_text, seq, interval, min_interval, fd, pd
local up, down, obs

local function int(number)
  if number == 0 then return '0' end
  return format('%d', number)
end

-- Bytes gained by one counter, its new mark, and whether it fell (a new run of the client).
local function advance(counter, mark)
  if counter >= mark then return counter - mark, counter, false end
  local restarted = event == 'started' and (counter < WOBBLE or mark - counter >= WOBBLE)
  if restarted then return counter, counter, true end
  if mark - counter < WOBBLE then return 0, mark, false end
  return 0, counter, true
end

-- The last number booked for this tracker, and the other trackers' entries, newest first.
local function sequence(list)
  if sub(list, 1, #MINE) == MINE and not find(list, ' ', 1, true) then
    return tonumber(sub(list, #MINE + 1)), NO_OTHERS
  end
  local last, others = nil, {}
  for tracker, booked in string.gmatch(list, '([^: ]+):(%d+)') do
    if tracker == ME then
      last = tonumber(booked)
    elseif #others < TRACKERS_REMEMBERED - 1 then
      others[#others + 1] = tracker .. ':' .. booked
    end
  end
  return last, others
end

-- The list with this tracker's new number at `place`.
local function numbered(others, place)
  if #others == 0 then return MINE .. seq end
  table.insert(others, math.min(place, #others + 1), MINE .. seq)
  return table.concat(others, ' ')
end

local function append(du, dd, ts, dt)
  if fd == '' and pd == '' then
    return attempt('XADD', STREAM, '*', 'passkey', passkey, 'infohash', infohash, 'peer_id', peer_id, 'port', port, 'ip', ip,
      'af', af, 'du', int(du), 'dd', int(dd), 'left', left, 'event', event, 'ts', ts, 'dt', int(dt), 'interval', interval,
      'min_interval', min_interval)
  end
  local entry = { 'passkey', passkey, 'infohash', infohash, 'peer_id', peer_id, 'port', port, 'ip', ip, 'af', af,
    'du', int(du), 'dd', int(dd), 'left', left, 'event', event, 'ts', ts, 'dt', int(dt), 'interval', interval,
    'min_interval', min_interval }
  if fd ~= '' then entry[#entry + 1] = 'fd'; entry[#entry + 1] = fd end
  if pd ~= '' then entry[#entry + 1] = 'pd'; entry[#entry + 1] = pd end
  return attempt('XADD', STREAM, '*', unpack(entry))
end

-- Appends the entry, before the snapshot moves: should that fail, the bytes stay owed. What became of it, or what went wrong.
local function enter(du, dd, ts, dt, known_left)
  if SKIP_IDLE and du == 0 and dd == 0 and event == 'none' and left == known_left then return 'idle' end
  local added = append(du, dd, ts, dt)
  if type(added) == 'table' and added.err then return nil, 'unwritable ' .. added.err end
  return 'booked'
end

-- Renews the snapshot's lifetime, unless that was done lately.
local function renew(key, last_ts, was_stopped)
  if event == 'stopped' then
    call('EXPIRE', key, STOPPED_TTL)
  elseif was_stopped or floor(NOW_MS / 1000 / RENEWAL) ~= floor(last_ts / RENEWAL) then
    call('EXPIRE', key, TTL + RENEWAL)
  end
end

local function observation()
  return obs_text .. ' ' .. left .. (event == 'stopped' and ' s' or '')
end

local function first(key)
  local credit = CREDIT_FIRST and event == 'started'
  local ts = int(floor(obs / 1000))
  local outcome, trouble = enter(credit and up or 0, credit and down or 0, ts, 0)
  if trouble then return trouble end
  call('HSET', key, 'uploaded', up_text, 'downloaded', down_text, 'port', port, 'ip', ip, 'af', af, 'ts', ts,
    'obs', observation(), 'seq', MINE .. seq, 'run', obs_text .. ' -1 -1 0')
  renew(key, -1)
  return outcome
end

local function next_one(key, known, mark_up, mark_down, last_ts, others, known_left, was_stopped)
  local du, new_up, up_fell = advance(up, mark_up)
  local dd, new_down, down_fell = advance(down, mark_down)
  local now = max(floor(obs / 1000), last_ts + 1)
  local ts = int(now)
  local outcome, trouble = enter(du, dd, ts, now - last_ts, known_left)
  if trouble then return trouble end
  if port ~= known[6] or ip ~= known[7] or af ~= known[8] then
    call('HSET', key, 'port', port, 'ip', ip, 'af', af)
  end
  if up_fell or down_fell then
    local before = match(call('HGET', key, 'run') or '', '^%d+') or '0'
    call('HSET', key, 'run', obs_text .. ' ' .. int(up_fell and mark_up or -1) .. ' ' .. int(down_fell and mark_down or -1)
      .. ' ' .. before)
  end
  call('HSET', key, 'uploaded', new_up == up and up_text or int(new_up), 'downloaded',
    new_down == down and down_text or int(new_down), 'ts', ts, 'obs', observation(),
    'seq', numbered(others, 1))
  renew(key, last_ts, was_stopped)
  return outcome
end

-- A late re-send, or another tracker's older view: it may add bytes that nobody booked, and changes nothing else.
local function late(key, mark_up, mark_down, last_ts, others, known_left, was_stopped)
  local seqs = numbered(others, 2)
  local snapshot = call('HMGET', key, 'run', 'port', 'ip', 'af')
  local began, ran_up, ran_down, before = match(snapshot[1] or '', '^(%d+) (%-?%d+) (%-?%d+) ?(%d*)$')
  began, ran_up, ran_down = tonumber(began or 0), tonumber(ran_up or -1), tonumber(ran_down or -1)
  before = tonumber(before or 0) or 0
  -- A report from before the present run counts against where that run had got to.
  local of_last_run = obs < began
  local function gain(counter, mark, ran)
    if of_last_run and ran >= 0 then return max(counter - ran, 0), mark, max(counter, ran) end
    return max(counter - mark, 0), max(counter, mark), ran
  end
  local du, new_up, run_up = gain(up, mark_up, ran_up)
  local dd, new_down, run_down = gain(down, mark_down, ran_down)
  -- Where the runs before that one had got to is forgotten: rather nothing than twice.
  if (du == 0 and dd == 0) or obs < before then
    call('HSET', key, 'seq', seqs)
    return 'late'
  end
  event, left, port, ip, af = 'none', known_left, snapshot[2], snapshot[3], snapshot[4]
  local ts = int(last_ts + 1)
  local outcome, trouble = enter(du, dd, ts, 0)
  if trouble then return trouble end
  call('HSET', key, 'uploaded', int(new_up), 'downloaded', int(new_down), 'ts', ts, 'seq', seqs,
    'run', int(began) .. ' ' .. int(run_up) .. ' ' .. int(run_down) .. ' ' .. int(before))
  if not was_stopped then renew(key, last_ts) end
  return outcome
end

local function record(key)
  local known = attempt('HMGET', key, 'uploaded', 'downloaded', 'ts', 'obs', 'seq', 'port', 'ip', 'af')
  if known.err then return known.err end
  local mark_up, mark_down = tonumber(known[1] or nil), tonumber(known[2] or nil)
  if not (mark_up and mark_down) then return first(key) end
  local last_ts, observed, seqs = tonumber(known[3] or 0) or 0, known[4] or '', known[5] or ''
  local last, others = sequence(seqs)
  if last and tonumber(seq) <= last then return 'repeated' end
  local was_stopped, known_left = sub(observed, -2) == ' s', nil
  -- One tracker's own announces come in order: only another's can be older than what is booked, whatever the clocks say.
  local mine = sub(seqs, 1, #MINE) == MINE
  if SKIP_IDLE or not mine then
    local seen
    seen, known_left = match(observed, '^(%d+) (%d+)')
    if seen and not mine and obs < tonumber(seen) then
      return late(key, mark_up, mark_down, last_ts, others, known_left, was_stopped)
    end
  end
  return next_one(key, known, mark_up, mark_down, last_ts, others, known_left, was_stopped)
end

-- Trackers know of a rotation within a second, and their spools never: only here can nobody book on the old passkey once
-- there is a new one. Most sites have no aliases, and hardly ever is a rotation under way.
local HAS_ALIASES = call('EXISTS', ALIASES) == 1
local HAS_ROTATIONS = HAS_ALIASES and call('EXISTS', ROTATING) == 1

-- Makes `passkey` the one to book on, and says what the snapshot's key is then.
local function canonical(key)
  local session = ':' .. infohash .. ':' .. peer_id
  local prefix = sub(key, 1, #key - #passkey - #session)
  passkey = call('HGET', ALIASES, passkey) or passkey
  local old = HAS_ROTATIONS and call('HGET', ROTATING, passkey)
  if old then fold(prefix .. old .. session, prefix .. passkey .. session) end
  return prefix .. passkey .. session
end

-- The first write of all: a Redis that takes none (a replica, no memory, no disk) says so here, before anything is booked.
local booked = tonumber(call('HMGET', BOOKED, 'booked')[1] or 0) or 0
local newest = #KEYS > 2 and tonumber(ARGV[HEADER + (#KEYS - 3) * WIDTH + 12]) or 0
local noted = attempt('HSET', BOOKED, 'booked', int(max(booked, newest, CONFIRMED)))
if type(noted) == 'table' and noted.err then return noted end
call('EXPIRE', BOOKED, TTL)

local outcomes = {}
for i = 1, #KEYS - 2 do
  local base = HEADER + (i - 1) * WIDTH
  passkey, infohash, peer_id, port, ip, af, up_text, down_text, left, event, obs_text, seq, interval, min_interval, fd, pd =
    unpack(ARGV, base + 1, base + WIDTH)
  up, down, obs = tonumber(up_text), tonumber(down_text), tonumber(obs_text)
  -- A clock that runs ahead must not make every later announce look late.
  if obs > NOW_MS then obs, obs_text = NOW_MS, int(NOW_MS) end
  outcomes[i] = record(HAS_ALIASES and canonical(KEYS[2 + i]) or KEYS[2 + i])
end
if booked < CONFIRMED then outcomes[#outcomes + 1] = 'lost ' .. int(CONFIRMED - booked) end
return outcomes
