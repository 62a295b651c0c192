-- One request per cookie, made once.
local requests, at = {}, 0

function init(_)
  for cookie in (os.getenv("BENCHMARKS_COOKIES") .. "\n"):gmatch("(.-)\n") do
    requests[#requests + 1] = wrk.format("GET", wrk.path, { Cookie = cookie })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  print(string.format('{"PerSecond":%f,"P50":%d,"P99":%d,"Failed":%d,"Done":%d}',
    (summary.requests - failed) / (summary.duration / 1e6), latency:percentile(50) * 1000, latency:percentile(99) * 1000,
    failed, summary.requests))
end
