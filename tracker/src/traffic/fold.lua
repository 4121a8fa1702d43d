-- Folds the snapshot of a session under a rotated passkey into the session's snapshot under the new one, so that bytes
-- which either has booked are never booked again.

-- The part of `seq` lists that both trackers' numbers survive in: each tracker's highest, those of `first` in front.
local function both_sequences(first, second)
  local highest, order = {}, {}
  for tracker, booked in string.gmatch(first .. ' ' .. second, '([^: ]+):(%d+)') do
    if not highest[tracker] then order[#order + 1] = tracker end
    highest[tracker] = math.max(highest[tracker] or 0, tonumber(booked))
  end
  local list = {}
  for i = 1, math.min(#order, 3) do
    list[i] = order[i] .. ':' .. string.format('%.0f', highest[order[i]])
  end
  return table.concat(list, ' ')
end

-- The mark of one counter. A counter that fell in the newer one's present run, which began after the older one was last
-- seen, began again from nothing: the older mark is of another run. Else whatever either has booked is booked.
local function both_marks(newer, older, counter, place)
  local began, up, down = string.match(newer.run or '', '^(%d+) (%-?%d+) (%-?%d+)')
  local fell = tonumber(place == 1 and up or down or -1) >= 0
  if fell and tonumber(began) > older.seen then return newer[counter] end
  return string.format('%.0f', math.max(tonumber(newer[counter]), tonumber(older[counter])))
end

-- A snapshot as a table; nil without one that can be read. The second answer: whether the key is somebody else's.
local function snapshot_of(key)
  local flat, snapshot = redis.pcall('HGETALL', key), {}
  if flat.err then return nil, true end
  for i = 1, #flat, 2 do snapshot[flat[i]] = flat[i + 1] end
  if not (tonumber(snapshot.uploaded) and tonumber(snapshot.downloaded)) then return nil end
  snapshot.seen = tonumber(string.match(snapshot.obs or '', '^%d+') or 0)
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
  if old.seen > new.seen then newer, older = old, new end
  local ttl = math.max(redis.call('TTL', old_key), redis.call('TTL', new_key))
  local fields = { 'uploaded', both_marks(newer, older, 'uploaded', 1), 'downloaded', both_marks(newer, older, 'downloaded', 2),
    'ts', string.format('%.0f', math.max(tonumber(old.ts) or 0, tonumber(new.ts) or 0)),
    'seq', both_sequences(newer.seq or '', older.seq or '') }
  for _, name in ipairs({ 'port', 'ip', 'af', 'obs', 'run' }) do
    if newer[name] then fields[#fields + 1] = name; fields[#fields + 1] = newer[name] end
  end
  redis.call('HSET', new_key, unpack(fields))
  if ttl > 0 then redis.call('EXPIRE', new_key, ttl) end
  redis.call('DEL', old_key)
  return true
end
