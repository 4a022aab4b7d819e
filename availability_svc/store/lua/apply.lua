-- Applies one change of one calendar, exactly once and never over a newer one.
--
-- KEYS: the calendar's floor, its clinic's pulse, then the buckets that the change touches.
-- ARGV: 1 version (6 bytes), 2 a fresh generation (8), 3 floor TTL ms, 4 now in s, 5 seconds a hole may last,
--       6 most changes beyond a hole, 7 appointment (16), then its records in each bucket.
--
-- floor  = generation (8) · upto (6) · since, s (4, when a hole was first seen) · versions beyond it (6 each)
-- bucket = generation (8) · base (6) · records (56 each: appointment 16 · resource 16 · version 6 · …)
-- Returns 1 when the change was new, 0 when it was known.
local RECORD = 56

local function version_at(text, at)
    local a, b, c, d, e, f = string.byte(text, at, at + 5)
    return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function version_text(version)
    local out = {}
    for place = 6, 1, -1 do
        out[place] = string.char(version % 256)
        version = math.floor(version / 256)
    end
    return table.concat(out)
end

local function with_entry(bucket, version, appointment, entry)
    local kept = { string.sub(bucket, 1, 14) }
    for at = 15, #bucket, RECORD do
        if string.sub(bucket, at, at + 15) ~= appointment then
            kept[#kept + 1] = string.sub(bucket, at, at + RECORD - 1)
        elseif version_at(bucket, at + 32) >= version then
            return nil
        end
    end
    kept[#kept + 1] = entry
    return table.concat(kept)
end

-- The pulse tells of every change, of known ones too: a fill may have brought what another process has not heard of.
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])

local version, now = version_at(ARGV[1], 1), tonumber(ARGV[4])
local floor = redis.call('GET', KEYS[1])
if not floor then
    -- Nothing valid is kept of this calendar. Whoever is filling it at this moment must be at least this new; if
    -- nobody is, ten minutes are enough.
    redis.call('SET', KEYS[1], ARGV[2] .. ARGV[1] .. '\0\0\0\0', 'PX', math.min(ARGV[3], 600000))
    return 1
end

local generation, upto = string.sub(floor, 1, 8), version_at(floor, 9)
local since, beyond = string.sub(floor, 15, 18), {}
for at = 19, #floor, 6 do
    beyond[version_at(floor, at)] = true
end
if version <= upto or beyond[version] then
    return 0
end

for index = 3, #KEYS do
    local bucket = redis.call('GET', KEYS[index])
    if bucket and string.sub(bucket, 1, 8) == generation and version_at(bucket, 9) < version then
        local changed = with_entry(bucket, version, ARGV[7], ARGV[5 + index])
        if changed then
            redis.call('SET', KEYS[index], changed, 'KEEPTTL')
        end
    end
end

beyond[version] = true
while beyond[upto + 1] do
    upto = upto + 1
    beyond[upto] = nil
end
local rest, newest = {}, upto
for waiting in pairs(beyond) do
    rest[#rest + 1] = version_text(waiting)
    newest = math.max(newest, waiting)
end
if #rest == 0 then
    since = '\0\0\0\0'
elseif since == '\0\0\0\0' then
    since = struct.pack('>I4', now)
end
local a, b, c, d = string.byte(since, 1, 4)
local seen_s = ((a * 256 + b) * 256 + c) * 256 + d
if #rest > tonumber(ARGV[6]) or (seen_s > 0 and now - seen_s > tonumber(ARGV[5])) then
    -- A change is missing for good: forget every bucket and let them be filled anew.
    generation, upto, since, rest = ARGV[2], newest, '\0\0\0\0', {}
end
redis.call('SET', KEYS[1], generation .. version_text(upto) .. since .. table.concat(rest), 'PX', ARGV[3])
return 1
