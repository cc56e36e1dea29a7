-- Orders for wrk: each line of the file is "token<TAB>body"; every request has an Idempotency-Key of its own.
local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    path, wishes, count = args[1], {}, 0
    for line in io.lines(args[2]) do
        local tab = line:find("\t", 1, true)
        wishes[#wishes + 1] = { line:sub(1, tab - 1), line:sub(tab + 1) }
    end
    run = args[3]
    accepted = 0
end

function request()
    count = count + 1
    local wish = wishes[(count * 7 + number * 13) % #wishes + 1]
    local headers = {
        ["Authorization"] = "Bearer " .. wish[1],
        ["Content-Type"] = "application/json",
        ["Idempotency-Key"] = run .. "-" .. number .. "-" .. count,
    }
    return wrk.format("POST", path, headers, wish[2])
end

function response(status, headers, body)
    if status == 201 then accepted = accepted + 1 end
end

local all = {}
local add = setup
function setup(thread)
    add(thread)
    all[#all + 1] = thread
end

function done(summary, latency, requests)
    local total = 0
    for _, thread in ipairs(all) do total = total + thread:get("accepted") end
    io.write(string.format("RESULT %d %d %f %f %d\n", total, summary.requests, latency:percentile(50) / 1000,
        latency:percentile(99) / 1000, summary.errors.status + summary.errors.timeout + summary.errors.connect))
end
