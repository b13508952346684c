-- One caller's account over all gateways: takes what a request could need, if every limit allows it, and hears and tells
-- what the gateways have. What a gateway tells of itself is absolute, so it may be told again; its versions tell which
-- came last. Whole numbers stay below 2^53.
local rates, held, day, month = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, version = ARGV[1], tonumber(ARGV[2])
local running, holds = tonumber(ARGV[3]), tonumber(ARGV[4])
local day_mine, month_mine = tonumber(ARGV[5]), tonumber(ARGV[6])
local ttl = tonumber(ARGV[7])
local requests_limit, tokens_limit, at_once_limit = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local day_limit, month_limit = tonumber(ARGV[11]), tonumber(ARGV[12])
local wanted, tokens_wanted, cost_wanted = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local RATES_TTL, DAY_TTL, MONTH_TTL = 600000, 3 * 86400, 40 * 86400

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function text(number)
    return string.format('%.17g', number)
end

local function faded(used, limit, passed, owed)
    if limit < 0 then
        return 0
    end
    return math.max(0, math.max(0, used - passed * limit / 60000) + owed)
end

local function others_held()
    local count, sum, stale = 0, 0, false
    local fields = redis.call('HGETALL', held)
    for i = 1, #fields, 2 do
        local run, hold, expires, told = string.match(fields[i + 1], '^(%S+) (%S+) (%S+) (%S+)$')
        if fields[i] == me then
            stale = tonumber(told) > version
        elseif tonumber(expires) <= now or tonumber(expires) > now + 2 * ttl then -- gone, or from before a clock went back
            redis.call('HDEL', held, fields[i])
        else
            count, sum = count + tonumber(run), sum + tonumber(hold)
        end
    end
    return count, sum, stale
end

local function others_spent(key, mine, key_ttl)
    local sum, stored = 0, 0
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
        if fields[i] == me then
            stored = tonumber(fields[i + 1])
        else
            sum = sum + tonumber(fields[i + 1])
        end
    end
    if mine > stored then
        redis.call('HSET', key, me, text(mine))
        redis.call('EXPIRE', key, key_ttl)
    end
    return sum
end

local before = redis.call('HMGET', rates, 'at', 'requests', 'tokens')
local passed = math.max(0, now - (tonumber(before[1]) or now))
local requests = faded(tonumber(before[2]) or 0, requests_limit, passed, tonumber(ARGV[13]))
local tokens = faded(tonumber(before[3]) or 0, tokens_limit, passed, tonumber(ARGV[14]))
local others_running, others_holds, stale = others_held()
local others_day = others_spent(day, day_mine, DAY_TTL)
local others_month = others_spent(month, month_mine, MONTH_TTL)

local all_held = others_holds + holds + cost_wanted
local allowed = wanted == 0 or not (
    (at_once_limit >= 0 and others_running + running + 1 > at_once_limit)
    or (requests_limit >= 0 and requests + 1 > requests_limit)
    or (tokens_limit >= 0 and tokens + tokens_wanted > tokens_limit)
    or (day_limit >= 0 and others_day + day_mine + all_held > day_limit)
    or (month_limit >= 0 and others_month + month_mine + all_held > month_limit)
)
local taken = (allowed and wanted == 1) and 1 or 0
redis.call('HSET', rates, 'at', text(now), 'requests', text(requests + taken), 'tokens', text(tokens + taken * tokens_wanted))
redis.call('PEXPIRE', rates, RATES_TTL)
if not stale then
    if running + taken > 0 then
        local mine = {text(running + taken), text(holds + taken * cost_wanted), text(now + ttl), text(version)}
        redis.call('HSET', held, me, table.concat(mine, ' '))
    else
        redis.call('HDEL', held, me)
    end
    redis.call('PEXPIRE', held, 2 * ttl)
end
return {
    allowed and 1 or 0, text(requests), text(tokens), text(others_running), text(others_holds), text(others_day),
    text(others_month)
}
