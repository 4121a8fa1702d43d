-- Folds the snapshot of a session under a rotated passkey into the session's snapshot under the new one, so
-- that bytes which either has booked are never booked again.

-- The newest observation, with its tracker's highest number, and the others' numbers behind it: those of
-- `newer` in front.
local function both_sequences(newer, older)
  local highest, order = {}, {}
  local function note(tracker, number)
    if not tracker then return end
    if not highest[tracker] then order[#order + 1] = tracker end
    highest[tracker] = math.max(highest[tracker] or 0, tonumber(number))
  end
  for _, snapshot in ipairs({ newer, older }) do
    note(snapshot.tracker, snapshot.number)
    for tracker, number in string.gmatch(snapshot.seq or '', '([^: ]+):(%d+)') do note(tracker, number) end
  end
  local seen, list = newer.seen, {}
  if newer.tracker then
    seen = string.gsub(seen, ' %d+ ', string.format(' %.0f ', highest[newer.tracker]), 1)
  end
  for _, tracker in ipairs(order) do
    if tracker ~= newer.tracker and #list < 2 then
      list[#list + 1] = tracker .. ':' .. string.format('%.0f', highest[tracker])
    end
  end
  return seen, table.concat(list, ' ')
end

-- The mark of one counter. A counter that fell in the newer one's present run, which began after the older
-- one was last seen, began again from nothing: the older mark is of another run. Else whatever either has
-- booked is booked.
local function both_marks(newer, older, counter, place)
  local began, up, down = string.match(newer.run or '', '^(%d+) (%-?%d+) (%-?%d+)')
  local fell = tonumber(place == 1 and up or down or -1) >= 0
  if fell and tonumber(began) > older.observed then return newer[counter] end
  return string.format('%.0f', math.max(tonumber(newer[counter]), tonumber(older[counter])))
end

-- A snapshot as a table; nil without one that can be read. The second answer: whether the key is somebody
-- else's.
local function snapshot_of(key)
  local flat, snapshot = redis.pcall('HGETALL', key), {}
  if flat.err then return nil, true end
  for i = 1, #flat, 2 do snapshot[flat[i]] = flat[i + 1] end
  if not (tonumber(snapshot.uploaded) and tonumber(snapshot.downloaded)) then return nil end
  local tracker, number, observed = string.match(snapshot.seen or '', '^!?([^/]*)/%x* (%d+) (%d+) ')
  snapshot.tracker, snapshot.number, snapshot.observed = tracker, number, tonumber(observed or 0)
  return snapshot
end

-- Returns whether there was anything to fold.
local function fold(old_key, new_key)
  if redis.call('EXISTS', old_key) == 0 then return false end
  local old, foreign_old = snapshot_of(old_key)
  local new, foreign_new = snapshot_of(new_key)
  if foreign_old or foreign_new then return false end
  if not old then redis.call('DEL', old_key); return true end
  if not new then
    redis.call('DEL', new_key)
    redis.call('RENAME', old_key, new_key)
    return true
  end
  local newer, older = new, old
  if old.observed > new.observed then newer, older = old, new end
  local ttl = math.max(redis.call('TTL', old_key), redis.call('TTL', new_key))
  local seen, seq = both_sequences(newer, older)
  newer.seen = seen
  local fields = { 'uploaded', both_marks(newer, older, 'uploaded', 1), 'downloaded', both_marks(newer, older, 'downloaded', 2),
    'ts', string.format('%.0f', math.max(tonumber(old.ts) or 0, tonumber(new.ts) or 0)), 'seq', seq }
  for _, name in ipairs({ 'seen', 'port', 'ip', 'af', 'run' }) do
    if newer[name] then fields[#fields + 1] = name; fields[#fields + 1] = newer[name] end
  end
  redis.call('HSET', new_key, unpack(fields))
  if ttl > 0 then redis.call('EXPIRE', new_key, ttl) end
  redis.call('DEL', old_key)
  return true
end
