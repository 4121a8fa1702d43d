-- Puts sessions under their new names, each in one step, if both of its snapshots are still as they were
-- read. KEYS: for each session the old snapshot's name and the new one's. ARGV: for each session what was
-- read of the old one and of the new one ('': nothing), what to do (`move`: the old one takes the new one's
-- place; `drop`: the old one goes; `old`, `new`: the one that was heard of later, whose public fields stay)
-- and the session that both are together. Answers for each session: 1 done, 0 changed meanwhile, -1 no
-- snapshot.
local PIECE = 64

local function is_foreign(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'hash' and kind ~= 'none'
end

local function write(old, new, newer, session)
  local fields = { 'claims', string.sub(session, 1, PIECE), 'claims2', string.sub(session, PIECE + 1, 2 * PIECE),
    'claims3', string.sub(session, 2 * PIECE + 1) }
  local function keep(name, value)
    if value then fields[#fields + 1] = name; fields[#fields + 1] = value end
  end
  local names = { 'uploaded', 'downloaded', 'port', 'ip', 'af' }
  if newer == 'old' then
    local values = redis.call('HMGET', old, unpack(names))
    for i, name in ipairs(names) do keep(name, values[i]) end
  end
  local ts = math.max(tonumber(redis.call('HGET', old, 'ts') or 0), tonumber(redis.call('HGET', new, 'ts') or 0))
  keep('ts', string.format('%.0f', ts))
  local ttl = math.max(redis.call('TTL', old), redis.call('TTL', new))
  redis.call('HSET', new, unpack(fields))
  if ttl > 0 then redis.call('EXPIRE', new, ttl) end
  redis.call('DEL', old)
end

local function put(old, new, read_of_old, read_of_new, deed, session)
  if is_foreign(old) or is_foreign(new) then return -1 end
  if (whole(old) or '') ~= read_of_old or (whole(new) or '') ~= read_of_new then return 0 end
  if deed == 'drop' then
    redis.call('DEL', old)
  elseif deed == 'move' then
    redis.call('RENAME', old, new)
  else
    write(old, new, deed, session)
  end
  return 1
end

local answers = {}
for i = 1, #KEYS / 2 do
  answers[i] = put(KEYS[2 * i - 1], KEYS[2 * i], unpack(ARGV, 4 * i - 3, 4 * i))
end
return answers
