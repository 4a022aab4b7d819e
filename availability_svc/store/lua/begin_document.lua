-- Returns the generation of a clinic's directory, giving it one if it has none.
-- KEYS: the directory's generation. ARGV: 1 TTL ms.
local generation = redis.call('GET', KEYS[1])
if not generation then
    local time = redis.call('TIME')
    generation = string.format('%010d%06d', time[1], time[2])
    redis.call('SET', KEYS[1], generation, 'PX', ARGV[1])
end
return generation
