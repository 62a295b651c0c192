package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// Every request with a session waits for one round trip; half a second is what
// Config.RedisTimeout allows in all.
const (
	tripWarn = 10 * time.Millisecond
	tripFail = 250 * time.Millisecond
	trips    = 21
)

func checkLatency(ctx context.Context, _ *examination, n *node) ([]Finding, error) {
	var took []time.Duration
	for range trips {
		began := time.Now()
		if err := n.Client.Ping(ctx).Err(); err != nil {
			if _, ok := server.Denied(err); !ok { // a refusal takes as long
				return nil, err
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median := took[trips/2]
	seen := fmt.Sprintf("round trip %.2f ms, median of %d, longest %.2f ms", ms(median), trips, ms(took[trips-1]))
	do := "every request of a session waits that long: put Redis nearer, or see what keeps it busy (if only this machine is far away, look from a web server)"
	switch {
	case median >= tripFail:
		return one("latency", Fail, seen, do), nil
	case median >= tripWarn:
		return one("latency", Warn, seen, do), nil
	}
	return one("latency", OK, seen, ""), nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// What keeps Redis busy this long holds up every request meanwhile.
const (
	slowWarn  = 50 * time.Millisecond
	slowSince = time.Hour
)

// checkSlowLog reads the slow log and the latency monitor. Of a command only its
// name is shown: the arguments may be records.
func checkSlowLog(ctx context.Context, _ *examination, n *node) ([]Finding, error) {
	const name = "slow commands"
	entries, err := n.Client.SlowLogGet(ctx, 128).Result()
	if err != nil {
		return denied(name, "", err)
	}
	count := 0
	var longest time.Duration
	var command string
	for _, e := range entries {
		if len(e.Args) == 0 || e.Duration < slowWarn || time.Since(e.Time) > slowSince {
			continue
		}
		count++
		if e.Duration > longest {
			longest, command = e.Duration, strings.ToUpper(e.Args[0])
		}
	}
	if count > 0 {
		return one(name, Warn, fmt.Sprintf("%d took %d ms or more within the last hour, the longest %d ms (%s): nobody else is answered meanwhile",
			count, slowWarn.Milliseconds(), longest.Milliseconds(), command), "see SLOWLOG GET for who sends them; sessions themselves need none"), nil
	}
	if event, worst := latencyEvents(ctx, n); worst >= slowWarn {
		return one(name, Warn, fmt.Sprintf("Redis's latency monitor saw %s take %d ms", event, worst.Milliseconds()), "see LATENCY DOCTOR"), nil
	}
	return one(name, OK, fmt.Sprintf("none of %d ms or more within the last hour", slowWarn.Milliseconds()), ""), nil
}

// latencyEvents returns the worst recent event of Redis's own latency monitor,
// if it is on and may be asked.
func latencyEvents(ctx context.Context, n *node) (event string, worst time.Duration) {
	reply, err := n.Client.Do(ctx, "latency", "latest").Slice()
	if err != nil {
		return "", 0
	}
	for _, item := range reply {
		e, _ := item.([]any)
		if len(e) < 3 {
			continue
		}
		at, _ := e[1].(int64)
		took, _ := e[2].(int64)
		if d := time.Duration(took) * time.Millisecond; d > worst && time.Since(time.Unix(at, 0)) < slowSince {
			event, worst = fmt.Sprint(e[0]), d
		}
	}
	return event, worst
}
