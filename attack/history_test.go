package attack_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// limit is Config.MaxPerUser of the model's servers.
const limit = 2

// act is one thing that happens beside others in a round.
type act struct {
	Kind    string
	Browser int
	Server  int
	User    string
	Stale   int // 0: the browser's own cookie; else the nth last one that was ever set, as a thief would
}

// round is what happens at once, and then.
type round struct {
	Acts  []act
	Storm string        // what befalls Redis meanwhile
	Pause time.Duration // afterwards
}

var (
	userKinds  = []string{"read", "read", "read", "set", "add", "add", "delete", "clear", "login", "login", "half", "promote", "logout", "rotate", "others"}
	adminKinds = []string{"revoke", "revoke user", "revoke all"}
	storms     = append(slices.Repeat([]string{""}, 80), "stutter", "stutter", "stutter", "stutter", "lost replies", "lost replies", "lost replies", "lost replies", "lost replies", "lost replies", "cut", "kill")
	pauses     = []time.Duration{0, 0, 0, 0, 0, 37 * time.Second, 71 * time.Second, 71 * time.Second, 47 * time.Minute, 4*time.Hour + 7*time.Minute, 25 * time.Hour}
)

func drawRounds(rt *rapid.T) []round {
	one := rapid.Custom(func(rt *rapid.T) act {
		kinds := userKinds
		if rapid.IntRange(0, 11).Draw(rt, "by an administrator") == 11 {
			kinds = adminKinds
		}
		return act{
			Kind: rapid.SampledFrom(kinds).Draw(rt, "kind"), Browser: rapid.IntRange(0, 3).Draw(rt, "browser"),
			Server: rapid.IntRange(0, 1).Draw(rt, "server"), User: rapid.SampledFrom([]string{"alice", "alice", "bob"}).Draw(rt, "user"),
			Stale: max(0, rapid.IntRange(-12, 4).Draw(rt, "stale")),
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) round {
		return round{
			rapid.SliceOfN(one, 1, 5).Draw(rt, "acts"), rapid.SampledFrom(storms).Draw(rt, "storm"), rapid.SampledFrom(pauses).Draw(rt, "pause"),
		}
	}), 1, 10).Draw(rt, "rounds")
}

// world of servers and browsers that rounds are played in.
type theatre struct {
	redis   *redistest.Server
	proxy   *redistest.Proxy
	client  redis.UniversalClient // to Redis itself
	servers [2]*redsession.Manager
	prefix  string
	clock   *clock
}

type clock struct{ nanos atomic.Int64 }

// Now is another microsecond at each call, so that what comes later has a later time.
func (c *clock) Now() time.Time { return time.Unix(0, c.nanos.Add(int64(time.Microsecond))) }

func (c *clock) micros() int64 { return c.Now().UnixMicro() }

// play is one history under way.
type play struct {
	*theatre
	rt       *rapid.T
	began    time.Time
	browsers [4]browser

	mu      sync.Mutex
	ops     []porcupine.Operation
	issued  []string          // every cookie that was ever set
	logins  map[string]origin // by the id of such a cookie
	over    map[string]int64  // by when a login has ended for certain
	faults  []string
	stormy  bool
	owed    []owing // logouts that were not made at once
	endings []ending
	number  int
}

// origin is the login that an id comes of.
type origin struct {
	login, user string
	family      string // the first of the logins of which each took the place of another
	round       int
	half        bool // the second factor is missing
}

// owing is a logout that was answered 503, and that the server is to make once Redis is back.
type owing struct {
	server int
	cookie string
}

func (p *play) since() int64 { return int64(time.Since(p.began)) }

func (p *play) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// requestKey leads from a context to the revocations made under it.
type requestKey struct{}

type revocations struct {
	mu   sync.Mutex
	list []redsession.Event
}

func noteRevocation(ctx context.Context, e redsession.Event) {
	if n, ok := ctx.Value(requestKey{}).(*revocations); ok && e.Kind == redsession.EventRevoked {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.list = append(n.list, e)
	}
}

// of returns the ids that were revoked for that reason.
func (n *revocations) of(reason string) (ids []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.list {
		if e.Reason == reason {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// ending is what ends sessions other than the request's own.
type ending struct {
	id        string // one, by an id; or all
	user      string // of this user, "" for anybody
	spared    string // but for the session of this id
	round     int
	call, ret int64
	failed    bool // nobody knows what was ended
	mark      span // when the user's sessions were revoked, logins under way included; zero if not
}

// request performs a request of a browser and notes its two steps. In a storm, when a server may answer from memory,
// nothing is said of what it saw, and the commit has time until all servers are well again.
func (p *play) request(n int, a act, storm bool) {
	b := &p.browsers[a.Browser]
	cookie, stale, tag := p.arrive(b, a)
	one := browser{cookie: cookie}
	load := event{what: "load", kind: a.Kind, cookie: publicID(cookie), now: p.clock.Now().Unix(), round: n, storm: storm}
	commit := load
	commit.what, commit.user, commit.tag = "commit", a.User, tag
	ended, view := &revocations{}, ""
	var loaded, left int64
	called := p.since()
	commit.loaded.from = p.clock.micros()
	got := one.send(context.WithValue(context.Background(), requestKey{}, ended), p.servers[a.Server], func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		loaded = p.since()
		commit.loaded.to = p.clock.micros()
		commit.served, view = s.ID(), viewOf(s)
		left = p.since()
		p.perform(a, tag, w, r, s)
	})
	returned := p.since()
	commit.left = span{commit.loaded.to, p.clock.micros()}
	load.served = commit.served
	if a.Kind == "others" || a.Kind == "promote" && !strings.HasPrefix(view, "half:") {
		commit.kind = "read"
	}
	out := &outcomeOf{status: got.status, view: view, evicted: len(ended.of("more logins than MaxPerUser"))}
	p.check(a, got, storm, out)
	if !stale && len(got.ours) > 0 {
		b.mu.Lock()
		b.cookie = one.cookie
		b.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if out.issued != "" {
		p.issued = append(p.issued, one.cookie)
	}
	p.trace(&commit, out, a, n)
	if !storm {
		p.ops = append(p.ops, operationOf(a.Browser, load, out, called, loaded))
	}
	if a.Kind == "logout" && got.status == 503 && commit.served != "" {
		p.owed = append(p.owed, owing{a.Server, cookie})
	}
	p.ops = append(p.ops, operationOf(a.Browser, commit, known(a, out), left, returned))
	for _, id := range ended.of("more logins than MaxPerUser") {
		p.endings = append(p.endings, ending{id: id, round: n, call: called, ret: returned})
	}
	if user, _, _ := strings.Cut(view, " "); a.Kind == "others" && (user == "alice" || user == "bob") {
		p.endings = append(p.endings, ending{user: user, spared: commit.served, round: n, call: left, ret: returned, failed: got.status != 200, mark: commit.left})
	}
}

// arrive returns the cookie that a request brings, whether it is not the browser's own, and a tag for what it writes.
func (p *play) arrive(b *browser, a act) (cookie string, stale bool, tag string) {
	b.mu.Lock()
	cookie = b.cookie
	b.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if stale = a.Stale > 0 && a.Stale <= len(p.issued); stale {
		cookie = p.issued[len(p.issued)-a.Stale]
	}
	p.number++
	return cookie, stale, "<" + strconv.Itoa(p.number) + ">"
}

// known is nil for an answer that tells of nothing. RevokeOthers commits first: if it fails after that, the session may have
// rotated.
func known(a act, out *outcomeOf) *outcomeOf {
	if out.status == http.StatusServiceUnavailable && (a.Kind != "others" || out.issued == "") {
		return nil
	}
	return out
}

func operationOf(client int, e event, out *outcomeOf, call, ret int64) porcupine.Operation {
	return porcupine.Operation{ClientId: client, Input: e, Output: out, Call: call, Return: ret}
}

// trace keeps which login the new cookie is of. The caller holds the lock.
func (p *play) trace(e *event, out *outcomeOf, a act, n int) {
	from := p.logins[e.served]
	if e.served != "" && from.login == "" {
		from = p.logins[e.cookie]
		p.logins[e.served] = from
	}
	if out.issued == "" {
		return
	}
	if _, there := p.logins[out.issued]; there {
		return
	}
	switch {
	case a.Kind == "login" || a.Kind == "half":
		from = origin{out.issued, a.User, cmp.Or(from.family, p.logins[e.cookie].family, out.issued), n, a.Kind == "half"}
	case a.Kind == "promote" && strings.HasPrefix(out.view, "half:"):
		from = origin{out.issued, from.user, from.family, n, false}
	case e.served == "":
		from = origin{out.issued, "", out.issued, n, false}
	}
	p.logins[out.issued] = from
}

// check says what is wrong with an answer by itself, and reads its cookie.
func (p *play) check(a act, got answer, storm bool, out *outcomeOf) {
	if len(got.ours) > 1 {
		p.fault("%s: got %d cookies of ours, want one at most", a.Kind, len(got.ours))
	}
	for _, c := range got.ours {
		if c.MaxAge >= 0 {
			out.issued = publicID(c.Value)
		}
	}
	switch got.status {
	case 200, 409:
	case 503:
		if !storm {
			p.fault("%s: got status 503, want an answer as Redis is there", a.Kind)
		}
	default:
		p.fault("%s: got status %d, want 200, 409 or 503", a.Kind, got.status)
	}
}

func viewOf(s *redsession.Session) string {
	n := node{user: s.UserID()}
	if p := s.PendingUserID(); p != "" {
		n.user, n.half = p, true
	}
	n.k, _ = redsession.Key[string]("k").Get(s)
	n.log, _ = redsession.Key[string]("log").Get(s)
	return n.view()
}

// perform does in a handler what a says.
func (p *play) perform(a act, tag string, w http.ResponseWriter, r *http.Request, s *redsession.Session) {
	switch a.Kind {
	case "set":
		redsession.Key[string]("k").Set(s, tag)
	case "add":
		redsession.Key[string]("log").Update(s, func(old string) string { return old + tag })
	case "delete":
		redsession.Key[string]("k").Delete(s)
	case "clear":
		s.Clear()
	case "login":
		s.Login(a.User)
	case "half":
		s.Login(a.User, redsession.Pending())
	case "promote":
		if s.PendingUserID() != "" {
			s.Promote()
		}
	case "logout":
		s.Logout()
	case "rotate":
		s.Rotate()
	case "others":
		if _, err := p.servers[a.Server].RevokeOthers(r.Context(), s); err != nil {
			http.Error(w, "not kept", statusOf(err))
		}
	case "settle":
		s.KeepID()
	}
}
