-- Keeps a part of a clinic's directory, unless the directory has changed since the part was read.
-- KEYS: the directory's generation, the part. ARGV: 1 generation before the read, 2 version and document, 3 TTL ms.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[2], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
