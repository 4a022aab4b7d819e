-- Gives a clinic's directory a generation that it never had.
-- KEYS: the directory's generation. ARGV: 1 TTL ms.
local time = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('%010d%06d', time[1], time[2]), 'PX', ARGV[1])
return 1
