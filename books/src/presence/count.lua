-- Tallies some of the sessions that have a lease. ARGV: guard base, lease key, cursor, how many at once.
-- Returns {next cursor, sessions seeding, sessions leeching}.
local page = redis.call('ZSCAN', ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local count = { s = 0, l = 0, g = 0 }
for i = 1, #page[2], 2 do
  local passkey, field = string.match(page[2][i], '^([^:]+):(.+)$')
  local value = passkey and redis.call('HGET', ARGV[1] .. passkey, field)
  local state = value and string.match(value, '%a')
  if count[state] then count[state] = count[state] + 1 end
end
return { page[1], count.s, count.l }
