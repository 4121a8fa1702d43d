-- All of a snapshot; false for none. One that an older tracker wrote has only its counters.
local function whole(key)
  local parts = redis.pcall('HMGET', key, 'claims', 'claims2', 'claims3', 'uploaded', 'downloaded', 'ts')
  if parts.err then return false end
  if parts[1] then return parts[1] .. (parts[2] or '') .. (parts[3] or '') end
  return parts[4] and parts[5] and '=' .. parts[4] .. ' ' .. parts[5] .. ' ' .. (parts[6] or '0')
end

