-- Keeps a location's document, unless its clinic's directory has changed since the document was read.
-- KEYS: the directory's generation, the location. ARGV: 1 generation before the read, 2 document, 3 TTL ms.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[2], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
