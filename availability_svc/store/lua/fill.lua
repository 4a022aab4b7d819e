-- Keeps a bucket read from the database, unless that read was older than what the calendar has seen since.
--
-- KEYS: the calendar's floor, the bucket.
-- ARGV: 1 the snapshot's version (6 bytes), 2 a fresh generation (8), 3 floor TTL ms, 4 now in s,
--       5 seconds a hole may last, 6 bucket TTL ms, 7 records, 8 whether a replica was read (1) or the primary (0).
-- Layouts as in apply.lua. Returns 1 when it was kept, 0 when the snapshot was too old, or nothing tells whether a
-- replica's is.
local function version_at(text, at)
    local a, b, c, d, e, f = string.byte(text, at, at + 5)
    return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local version = version_at(ARGV[1], 1)
local floor = redis.call('GET', KEYS[1])
local generation = ARGV[2]
if floor then
    local newest = version_at(floor, 9)
    for at = 19, #floor, 6 do
        newest = math.max(newest, version_at(floor, at))
    end
    if version < newest then
        return 0
    end
    local a, b, c, d = string.byte(floor, 15, 18)
    local seen_s = ((a * 256 + b) * 256 + c) * 256 + d
    if seen_s > 0 and tonumber(ARGV[4]) - seen_s > tonumber(ARGV[5]) then
        floor = false
    else
        generation = string.sub(floor, 1, 8)
    end
elseif ARGV[8] == '1' then
    return 0
end
if floor then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
    redis.call('SET', KEYS[1], generation .. ARGV[1] .. '\0\0\0\0', 'PX', ARGV[3])
end
local kept = redis.call('GET', KEYS[2])
if kept and string.sub(kept, 1, 8) == generation and version_at(kept, 9) > version then
    return 1
end
redis.call('SET', KEYS[2], generation .. ARGV[1] .. ARGV[7], 'PX', ARGV[6])
return 1
