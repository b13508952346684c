-- What a gateway that ends has spent in a day or a month, among that of all that have ended. Saying it again is harmless.
local spent = redis.call('HGET', KEYS[1], ARGV[1])
if spent then
    redis.call('HINCRBY', KEYS[1], 'ended', spent)
    redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
