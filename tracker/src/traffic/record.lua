-- Books a batch of announces: for each one the delta against its session's snapshot, the new snapshot and the
-- stream entry, in one atomic step. Running it again with the same arguments books nothing.
--
-- KEYS[1]     the stream
-- KEYS[2]     how far this tracker's announces are booked: a hash with `booked`, its highest sequence number
-- KEYS[2+i]   the snapshot of announce i, under the passkey as the tracker knows it
-- ARGV[1..6]  tracker id, snapshot TTL (s), TTL after stopped (s), skip idle (0|1), credit a first `started`
--             (0|1), the highest number that the tracker knows to be booked (0: none)
-- ARGV[7..8]  the hash old passkey -> new, and the hash new passkey -> the old one whose snapshots are being
--             folded into it
-- ARGV[9]     the highest sequence number of the batch
-- ARGV[10]    the announces in MessagePack, one value behind the other in the order of the variables below
--
-- Answers how many announces it has seen to, and a line for each that was not simply booked:
-- `<i> idle|repeated|late` or `<i>` and what is wrong. Last comes `lost <n>` when Redis has booked n numbers
-- less than the tracker was told: it restarted without its data, or a replica that lagged took over.
--
-- A snapshot holds the public fields uploaded, downloaded, port, ip, af, ts, and three of our own:
--   seen  "<tracker>/<endpoint> <n> <observed ms> <left>"
--         the newest observation: what is older is a late re-send; the tracker that made it, with what
--         number, and a digest of port, ip and af. A `!` goes before it after a `stopped`
--   seq   "<tracker>:<n> ..."
--         the last numbers of the trackers that had seen the session before that one
--   run   "<began ms> <up> <down> <ms>"
--         when the client's present run began, for each counter that fell then, where the run before had got
--         to (-1: it went on), and when that run had begun
-- Values stay below 64 bytes, so that Redis keeps the hash in its compact form. What is read each time comes
-- first in it.
--
-- Numbers are doubles: exact up to 2^53, which the tracker enforces. `%d` writes them without an exponent, as
-- 64-bit integers.
--
-- This is where Redis spends its time: on each command, each of its arguments, and each text that Lua has not
-- seen before. So the usual announce takes three commands, writes what changed, and makes no text that it was
-- given already.

local STREAM, BOOKED = KEYS[1], KEYS[2]
local ME, TTL, STOPPED_TTL = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local SKIP_IDLE, CREDIT_FIRST = ARGV[4] == '1', ARGV[5] == '1'
local CONFIRMED = tonumber(ARGV[6])
local ALIASES, ROTATING = ARGV[7], ARGV[8]
local NEWEST, BATCH = tonumber(ARGV[9]), ARGV[10]
local WIDTH = 21
local OTHERS_REMEMBERED = 2
-- A snapshot's lifetime is renewed once in this many seconds, and is longer by as much: every renewal costs
-- as much as the rest of the snapshot.
local RENEWAL = math.max(1, math.floor(TTL / 16))
-- Clients report `completed` up to some 70 kB higher than in the announce after it. That may be a `started`,
-- too, at an address or a tracker that has not answered one yet: only a counter that is small itself begins a
-- new run within this.
local WOBBLE = 1048576

local call, attempt = redis.call, redis.pcall
local find, floor, format, match, max = string.find, math.floor, string.format, string.match, math.max
local taken = cmsgpack.unpack_limit

local time = call('TIME')
local NOW_MS = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
local RENEWAL_BEGAN = floor(NOW_MS / 1000 / RENEWAL) * RENEWAL

-- The announce in hand. Counters are given as numbers, to reckon with, and as texts, to be written as they
-- came. `who` is what `seen` begins with, `ts` the second of the observation.
local passkey, infohash, peer_id, port, ip, af, up, up_text, down, down_text, left, event, obs, ts_text, seq, who, seen,
  interval, min_interval, fd, pd

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

-- Appends the entry, before the snapshot moves: should that fail, the bytes stay owed. Says what became of it
-- unless it is booked, and whether that is a failure.
local function enter(du, dd, ts, dt, known_left)
  if SKIP_IDLE and du == 0 and dd == 0 and event == 'none' and left == known_left then return 'idle', false end
  local added = append(du, dd, ts, dt)
  if type(added) == 'table' and added.err then return 'unwritable ' .. added.err, true end
end

-- Renews the snapshot's lifetime, unless that was done lately.
local function renew(key, last_ts, was_stopped)
  if event == 'stopped' then
    call('EXPIRE', key, STOPPED_TTL)
  elseif was_stopped or last_ts < RENEWAL_BEGAN or last_ts >= RENEWAL_BEGAN + RENEWAL then
    call('EXPIRE', key, TTL + RENEWAL)
  end
end

local function first(key)
  local credit = CREDIT_FIRST and event == 'started'
  local remark, failed = enter(credit and up or 0, credit and down or 0, ts_text, 0)
  if failed then return remark end
  call('HSET', key, 'uploaded', up_text, 'downloaded', down_text, 'ts', ts_text, 'seen', seen, 'port', port, 'ip', ip,
    'af', af, 'run', int(obs) .. ' -1 -1 0')
  renew(key, -1)
  return remark
end

-- Writes what changed of a snapshot.
local function keep(key, new_up, mark_up, new_down, mark_down, ts, moved)
  local uploaded = new_up == up and up_text or int(new_up)
  local downloaded = new_down == down and down_text or int(new_down)
  if moved then
    call('HSET', key, 'uploaded', uploaded, 'downloaded', downloaded, 'ts', ts, 'seen', seen, 'port', port, 'ip', ip, 'af', af)
  elseif new_down ~= mark_down then
    call('HSET', key, 'uploaded', uploaded, 'downloaded', downloaded, 'ts', ts, 'seen', seen)
  elseif new_up ~= mark_up then
    call('HSET', key, 'uploaded', uploaded, 'ts', ts, 'seen', seen)
  else
    call('HSET', key, 'ts', ts, 'seen', seen)
  end
end

-- `past` is what is known of a session that another tracker saw last, or that was seen elsewhere, or is over;
-- nil for the usual.
local function next_one(key, mark_up, mark_down, last_ts, past)
  local du, new_up, up_fell = advance(up, mark_up)
  local dd, new_down, down_fell = advance(down, mark_down)
  local now, ts = floor(obs / 1000), ts_text
  if now <= last_ts then now = last_ts + 1; ts = int(now) end
  local remark, failed = enter(du, dd, ts, now - last_ts, past and past.left)
  if failed then return remark end
  if up_fell or down_fell then
    local before = match(call('HGET', key, 'run') or '', '^%d+') or '0'
    call('HSET', key, 'run', int(obs) .. ' ' .. int(up_fell and mark_up or -1) .. ' ' .. int(down_fell and mark_down or -1)
      .. ' ' .. before)
  end
  keep(key, new_up, mark_up, new_down, mark_down, ts, past)
  if past and past.others then call('HSET', key, 'seq', past.others) end
  renew(key, last_ts, past and past.stopped)
  return remark
end

-- A late re-send, or another tracker's older view: it may add bytes that nobody booked, and changes nothing
-- else.
local function late(key, mark_up, mark_down, last_ts, past)
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
    call('HSET', key, 'seq', past.others)
    return 'late'
  end
  event, left, port, ip, af = 'none', past.left, snapshot[2], snapshot[3], snapshot[4]
  local ts = int(last_ts + 1)
  local remark, failed = enter(du, dd, ts, 0)
  if failed then return remark end
  call('HSET', key, 'uploaded', int(new_up), 'downloaded', int(new_down), 'ts', ts, 'seq', past.others,
    'run', int(began) .. ' ' .. int(run_up) .. ' ' .. int(run_down) .. ' ' .. int(before))
  if not past.stopped then renew(key, last_ts) end
  return remark
end

-- This tracker's number in a list, and the list without it behind what is put in front.
local function sequence(list, front)
  local last, others = nil, { front }
  for tracker, number in string.gmatch(list, '([^: ]+):(%d+)') do
    if tracker == ME then
      last = tonumber(number)
    elseif #others < OTHERS_REMEMBERED then
      others[#others + 1] = tracker .. ':' .. number
    end
  end
  return last, #others > 0 and table.concat(others, ' ') or nil
end

-- An announce that may be booked already, or that does not follow on this tracker's last one from the same
-- address.
local function look_back(key, mark_up, mark_down, last_ts, newest)
  local stopped, tracker, number, observed, known_left = match(newest, '^(!?)([^/]*)/%x* (%d+) (%d+) (%d+)$')
  local past = { left = known_left, stopped = stopped == '!' }
  local last = tonumber(number)
  -- One tracker's own announces come in order: only another's can be older than what is booked, whatever the
  -- clocks say.
  local too_late = tracker and tracker ~= ME and obs < tonumber(observed)
  if tracker ~= ME then
    local front = too_late and ME .. ':' .. int(seq) or tracker and tracker .. ':' .. number
    last, past.others = sequence(call('HGET', key, 'seq') or '', front)
  end
  if last and seq <= last then return 'repeated' end
  return (too_late and late or next_one)(key, mark_up, mark_down, last_ts, past)
end

-- Whatever this tracker booked had a number up to this one. Nobody knows when that was lost.
local highest = tonumber(call('HGET', BOOKED, 'booked')) or math.huge

local function record(key)
  local known = attempt('HMGET', key, 'uploaded', 'downloaded', 'ts', 'seen')
  if known.err then return known.err end
  local mark_up = known[1] == up_text and up or tonumber(known[1])
  local mark_down = known[2] == down_text and down or tonumber(known[2])
  if not (mark_up and mark_down) then return first(key) end
  local last_ts, newest = tonumber(known[3]) or 0, known[4] or ''
  if seq > highest and find(newest, who, 1, true) == 1 and not SKIP_IDLE then
    return next_one(key, mark_up, mark_down, last_ts)
  end
  return look_back(key, mark_up, mark_down, last_ts, newest)
end

-- Trackers know of a rotation within a second, and their spools never: only here can nobody book on the old
-- passkey once there is a new one. Most sites have no aliases, and hardly ever is a rotation under way.
local HAS_ALIASES = call('EXISTS', ALIASES) == 1
local HAS_ROTATIONS = HAS_ALIASES and call('EXISTS', ROTATING) == 1

-- Makes `passkey` the one to book on, and says what the snapshot's key is then.
local function canonical(key)
  local session = ':' .. infohash .. ':' .. peer_id
  local prefix = string.sub(key, 1, #key - #passkey - #session)
  passkey = call('HGET', ALIASES, passkey) or passkey
  local old = HAS_ROTATIONS and call('HGET', ROTATING, passkey)
  if old then fold(prefix .. old .. session, prefix .. passkey .. session) end
  return prefix .. passkey .. session
end

-- A clock that runs ahead must not make every later announce look late.
local function observe_now()
  obs, ts_text = NOW_MS, int(floor(NOW_MS / 1000))
  seen = (event == 'stopped' and '!' or '') .. who .. int(seq) .. ' ' .. int(obs) .. ' ' .. left
end

-- The first write of all: a Redis that takes none (a replica, no memory, no disk) says so here, before
-- anything is booked.
local booked = highest < math.huge and highest or 0
local noted = attempt('HSET', BOOKED, 'booked', int(max(booked, NEWEST, CONFIRMED)))
if type(noted) == 'table' and noted.err then return noted end
call('EXPIRE', BOOKED, TTL)

local outcomes, offset = { #KEYS - 2 }, 0
for i = 1, #KEYS - 2 do
  offset, passkey, infohash, peer_id, port, ip, af, up, up_text, down, down_text, left, event, obs, ts_text, seq, who, seen,
    interval, min_interval, fd, pd = taken(BATCH, WIDTH, offset)
  if obs > NOW_MS then observe_now() end
  local remark = record(HAS_ALIASES and canonical(KEYS[2 + i]) or KEYS[2 + i])
  if remark then outcomes[#outcomes + 1] = i .. ' ' .. remark end
  if seq > highest then highest = seq end
end
if booked < CONFIRMED then outcomes[#outcomes + 1] = 'lost ' .. int(CONFIRMED - booked) end
return outcomes
