-- Books a batch of announces: for each one the delta against its session's snapshot, the new snapshot and the stream
-- entry, in one atomic step. Running it again with the same arguments books nothing.
--
-- KEYS[1]     the stream
-- KEYS[2]     how far this tracker's announces are booked: a hash with `booked`, its highest sequence number
-- KEYS[2+i]   the snapshot of announce i
-- ARGV[1..6]  tracker id, snapshot TTL (s), TTL after stopped (s), skip idle (0|1), credit a first `started` (0|1), the
--             highest number that the tracker knows to be booked (0: none)
-- then 16 for each announce, see `names` below
--
-- Answers one word for each announce, and `lost <n>` behind them when Redis has booked n numbers less than the tracker
-- was told: it restarted without its data, or a replica that lagged took over.
--
-- A snapshot holds the public fields uploaded, downloaded, port, ip, af, ts, and three of our own:
--   obs  "<observed ms> <left>"           the newest observation: what is older is a late re-send
--   seq  "<tracker>:<n> ..."              the last sequence number booked per tracker; first the one that wrote `obs`
--   run  "<began ms> <up> <down> <ms>"    when the client's present run began, for each counter that fell then, where the run
--                                         before had got to (-1: it went on), and when that run had begun
-- Values stay below 64 bytes, so that Redis keeps the hash in its compact form.
--
-- Numbers are doubles: exact up to 2^53, which the tracker enforces. `%.0f` writes them without an exponent.

local STREAM, BOOKED = KEYS[1], KEYS[2]
local ME, TTL, STOPPED_TTL = ARGV[1], ARGV[2], ARGV[3]
local SKIP_IDLE, CREDIT_FIRST = ARGV[4] == '1', ARGV[5] == '1'
local CONFIRMED = tonumber(ARGV[6])
local HEADER, WIDTH = 6, 16
local TRACKERS_REMEMBERED = 3
-- Clients report `completed` up to some 70 kB higher than in the announce after it. That may be a `started`, too, at an
-- address or a tracker that has not answered one yet: only a counter that is small itself begins a new run within this.
local WOBBLE = 1048576

local time = redis.call('TIME')
local NOW_MS = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function int(number)
  return string.format('%.0f', number)
end

-- Bytes gained by one counter, its new mark, and whether it fell (a new run of the client).
local function advance(counter, mark, started)
  if counter >= mark then return counter - mark, counter, false end
  local restarted = started and (counter < WOBBLE or mark - counter >= WOBBLE)
  if restarted then return counter, counter, true end
  if mark - counter < WOBBLE then return 0, mark, false end
  return 0, counter, true
end

-- The last number booked for this tracker, and the other trackers' entries, newest first.
local function sequence(list)
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
local function numbered(others, place, number)
  table.insert(others, math.min(place, #others + 1), ME .. ':' .. number)
  return table.concat(others, ' ')
end

local function append(a, du, dd, dt)
  local entry = { 'passkey', a.passkey, 'infohash', a.infohash, 'peer_id', a.peer_id, 'port', a.port, 'ip', a.ip,
    'af', a.af, 'du', int(du), 'dd', int(dd), 'left', a.left, 'event', a.event, 'ts', int(a.ts), 'dt', int(dt),
    'interval', a.interval, 'min_interval', a.min_interval }
  if a.fd ~= '' then entry[#entry + 1] = 'fd'; entry[#entry + 1] = a.fd end
  if a.pd ~= '' then entry[#entry + 1] = 'pd'; entry[#entry + 1] = a.pd end
  return redis.pcall('XADD', STREAM, '*', unpack(entry))
end

-- The entry is appended before the snapshot moves: should appending fail, the bytes stay owed.
local function book(key, a, du, dd, dt, fields)
  local skip = SKIP_IDLE and du == 0 and dd == 0 and a.event == 'none' and a.left == a.known_left
  if not skip then
    local added = append(a, du, dd, dt)
    if type(added) == 'table' and added.err then return 'unwritable ' .. added.err end
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('EXPIRE', key, a.event == 'stopped' and STOPPED_TTL or TTL)
  return skip and 'idle' or 'booked'
end

local function first(key, a)
  local credit = CREDIT_FIRST and a.event == 'started'
  a.ts = math.floor(a.obs / 1000)
  return book(key, a, credit and a.up or 0, credit and a.down or 0, 0, {
    'uploaded', int(a.up), 'downloaded', int(a.down), 'port', a.port, 'ip', a.ip, 'af', a.af, 'ts', int(a.ts),
    'obs', int(a.obs) .. ' ' .. a.left, 'seq', ME .. ':' .. a.seq, 'run', int(a.obs) .. ' -1 -1 0' })
end

local function next_one(key, a, mark_up, mark_down, last_ts, others)
  local started = a.event == 'started'
  local du, up, up_fell = advance(a.up, mark_up, started)
  local dd, down, down_fell = advance(a.down, mark_down, started)
  a.ts = math.max(math.floor(a.obs / 1000), last_ts + 1)
  local fields = { 'uploaded', int(up), 'downloaded', int(down), 'port', a.port, 'ip', a.ip, 'af', a.af,
    'ts', int(a.ts), 'obs', int(a.obs) .. ' ' .. a.left, 'seq', numbered(others, 1, a.seq) }
  if up_fell or down_fell then
    local before = string.match(redis.call('HGET', key, 'run') or '', '^%d+') or '0'
    fields[#fields + 1] = 'run'
    fields[#fields + 1] = int(a.obs) .. ' ' .. int(up_fell and mark_up or -1) .. ' ' .. int(down_fell and mark_down or -1)
      .. ' ' .. before
  end
  return book(key, a, du, dd, a.ts - last_ts, fields)
end

-- A late re-send, or another tracker's older view: it may add bytes that nobody booked, and changes nothing else.
local function late(key, a, mark_up, mark_down, last_ts, others, known_left)
  local seqs = numbered(others, 2, a.seq)
  local snapshot = redis.call('HMGET', key, 'run', 'port', 'ip', 'af')
  local began, ran_up, ran_down, before = string.match(snapshot[1] or '', '^(%d+) (%-?%d+) (%-?%d+) ?(%d*)$')
  began, ran_up, ran_down = tonumber(began or 0), tonumber(ran_up or -1), tonumber(ran_down or -1)
  before = tonumber(before or 0) or 0
  -- A report from before the present run counts against where that run had got to.
  local of_last_run = a.obs < began
  local function gain(counter, mark, ran)
    if of_last_run and ran >= 0 then return math.max(counter - ran, 0), mark, math.max(counter, ran) end
    return math.max(counter - mark, 0), math.max(counter, mark), ran
  end
  local du, up, run_up = gain(a.up, mark_up, ran_up)
  local dd, down, run_down = gain(a.down, mark_down, ran_down)
  -- Where the runs before that one had got to is forgotten: rather nothing than twice.
  if (du == 0 and dd == 0) or a.obs < before then
    redis.call('HSET', key, 'seq', seqs)
    return 'late'
  end
  a.ts, a.event, a.left = last_ts + 1, 'none', known_left
  a.port, a.ip, a.af = snapshot[2], snapshot[3], snapshot[4]
  return book(key, a, du, dd, 0, { 'uploaded', int(up), 'downloaded', int(down), 'ts', int(a.ts), 'seq', seqs,
    'run', int(began) .. ' ' .. int(run_up) .. ' ' .. int(run_down) .. ' ' .. int(before) })
end

local function record(key, a)
  local known = redis.pcall('HMGET', key, 'uploaded', 'downloaded', 'ts', 'obs', 'seq')
  if known.err then return known end
  if not (known[1] and known[2]) then return first(key, a) end
  local mark_up, mark_down, last_ts = tonumber(known[1]), tonumber(known[2]), tonumber(known[3]) or 0
  if not (mark_up and mark_down) then return first(key, a) end
  local last, others = sequence(known[5] or '')
  if last and tonumber(a.seq) <= last then return 'repeated' end
  local seen, left = string.match(known[4] or '', '^(%d+) (%d+)$')
  a.known_left = left
  -- One tracker's own announces come in order: only another's can be older than what is booked, whatever the clocks say.
  local mine = string.sub(known[5] or '', 1, #ME + 1) == ME .. ':'
  if seen and not mine and a.obs < tonumber(seen) then
    return late(key, a, mark_up, mark_down, last_ts, others, left)
  end
  return next_one(key, a, mark_up, mark_down, last_ts, others)
end

local names = { 'passkey', 'infohash', 'peer_id', 'port', 'ip', 'af', 'up', 'down', 'left', 'event', 'obs', 'seq',
  'interval', 'min_interval', 'fd', 'pd' }
local outcomes = {}

-- The first write of all: a Redis that takes none (a replica, no memory, no disk) says so here, before anything is booked.
local booked = tonumber(redis.call('HMGET', BOOKED, 'booked')[1] or 0) or 0
local newest = #KEYS > 2 and tonumber(ARGV[HEADER + (#KEYS - 3) * WIDTH + 12]) or 0
local noted = redis.pcall('HSET', BOOKED, 'booked', int(math.max(booked, newest, CONFIRMED)))
if type(noted) == 'table' and noted.err then return noted end
redis.call('EXPIRE', BOOKED, TTL)

for i = 1, #KEYS - 2 do
  local a, base = {}, HEADER + (i - 1) * WIDTH
  for n, name in ipairs(names) do a[name] = ARGV[base + n] end
  -- A clock that runs ahead must not make every later announce look late.
  a.up, a.down, a.obs = tonumber(a.up), tonumber(a.down), math.min(tonumber(a.obs), NOW_MS)
  local outcome = record(KEYS[2 + i], a)
  if type(outcome) == 'table' then outcome = outcome.err end
  outcomes[i] = outcome
end
if booked < CONFIRMED then outcomes[#outcomes + 1] = 'lost ' .. int(CONFIRMED - booked) end
return outcomes
