package writes_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// change is one kind of commit.
type change struct {
	name   string
	before []string // requests until then
	ops    string
	done   string   // what its cookie reads after a 200
	old    string   // what the cookie from before reads then
	undone []string // one of which the cookie from before reads after a 503
	retry  bool     // it can be asked for again whatever came of it
}

var changes = []change{
	{"a login without a session", nil, "login:alice add:n", "alice n=1", "", []string{""}, true},
	{"a login with a session", []string{"add:n"}, "login:alice add:n", "alice n=2", "", []string{"n=1", ""}, true},
	{"a login of the same user", []string{"login:alice add:n"}, "login:alice add:n", "alice n=2", "", []string{"alice n=1", ""}, true},
	{"a login as another user", []string{"login:alice add:n"}, "login:bob add:n", "bob n=1", "", []string{"alice n=1", ""}, true},
	{"a promotion", []string{"half:alice add:n"}, "promote add:n", "alice n=2", "", []string{"n=1", ""}, false},
	{"a rotation", []string{"login:alice add:n"}, "rotate add:n", "alice n=2", "alice n=2", []string{"alice n=1", "alice n=2"}, true},
	{"a write", []string{"login:alice add:n"}, "add:n", "alice n=2", "alice n=2", []string{"alice n=1", "alice n=2"}, true},
	{"a write with the first hit after a rotation", []string{"login:alice add:n", "rotate"}, "add:n", "alice n=2", "alice n=2", []string{"alice n=1", "alice n=2"}, true},
	{"a first write", nil, "add:n", "n=1", "", []string{""}, true},
	{"a logout", []string{"login:alice add:n"}, "logout", "", "", []string{"alice n=1", ""}, true},
	{"a login with a tag", []string{"add:n"}, "login:alice:tag=sid add:n", "alice n=2", "", []string{"n=1", ""}, true},
	{"a promotion with a tag", []string{"half:alice:tag=sid add:n"}, "promote add:n", "alice n=2", "", []string{"n=1", ""}, false},
	{"a rotation with a tag", []string{"login:alice:tag=sid add:n"}, "rotate add:n", "alice n=2", "alice n=2", []string{"alice n=1", "alice n=2"}, true},
	{"a write with the first hit after a rotation with a tag", []string{"login:alice:tag=sid add:n", "rotate"}, "add:n", "alice n=2", "alice n=2", []string{"alice n=1", "alice n=2"}, true},
	{"a login to act as another", []string{"login:bob add:n"}, "login:alice:by=bob add:n", "alice n=1", "", []string{"bob n=1", ""}, false},
	{"a logout and a login", []string{"login:alice add:n"}, "logout login:bob add:n", "bob n=1", "", []string{"alice n=1", ""}, true},
}

// fault is what happens to commands on their way to Redis, and to the replies on their way back.
type fault struct {
	name    string
	on      func(p *redistest.Proxy, pick func(args []string) bool)
	after   bool // the one that is reached, and all after it
	arrives bool // what it strikes may come to Redis, then or later
}

var faults = []fault{
	{"the reply is lost", (*redistest.Proxy).CutReply, false, true},
	{"this and every later reply is lost", (*redistest.Proxy).CutReply, true, true},
	{"the request is lost", (*redistest.Proxy).CutRequest, false, true},
	{"the server dies before it", (*redistest.Proxy).CutRequest, true, true},
	{"Redis is loading", refusing("-LOADING Redis is loading the dataset in memory\r\n"), false, false},
	{"Redis is loading from then on", refusing("-LOADING Redis is loading the dataset in memory\r\n"), true, false},
	{"Redis refuses it", refusing("-OOM command not allowed when used memory > 'maxmemory'.\r\n"), false, false},
	{"Redis refuses this and what follows", refusing("-OOM command not allowed when used memory > 'maxmemory'.\r\n"), true, false},
}

// refusing has a proxy answer scripts with reply.
func refusing(reply string) func(p *redistest.Proxy, pick func(args []string) bool) {
	return func(p *redistest.Proxy, pick func(args []string) bool) {
		p.Reply(func(args []string) (string, bool) { return reply, pick(args) && stage.IsScript(args) })
	}
}

// ambush strikes at the nth command.
type ambush struct {
	mu   sync.Mutex // guards what follows
	nth  int
	seen int
	lost [][]string // the scripts among those that it struck
}

func (a *ambush) pick(f fault) func(args []string) bool {
	return func(args []string) bool {
		if args[0] == "PING" || strings.Contains(strings.Join(args, " "), "session:probe:") {
			return f.after && a.reached() // it finds Redis away as well
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen++
		strikes := a.seen == a.nth || f.after && a.seen > a.nth
		if strikes && f.arrives && stage.IsScript(args) {
			a.lost = append(a.lost, args)
		}
		return strikes
	}
}

func (a *ambush) reached() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen >= a.nth
}

// replay has all that was lost come to Redis late, and once more if it was the reply that was lost.
func (a *ambush) replay(t *testing.T, e *stage.Env) {
	t.Helper()
	a.mu.Lock()
	lost := slices.Clone(a.lost)
	a.mu.Unlock()
	for _, args := range lost {
		if err := e.Client.Do(t.Context(), anys(args)...).Err(); err != nil && !strings.Contains(err.Error(), "NOSCRIPT") {
			t.Fatal(err)
		}
	}
}

// Whatever command of a commit is lost, on its way there or on its way back, once or for good, and even if it comes once
// more when all is over: what was acknowledged is there, what was not is there wholly or is of use to nobody, no live
// session is missing in its user's index, and nothing that has ended comes back.
func TestWritesUnderEachFault(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			other := maker(t)
			there := stage.NewScripted(t, other)
			for _, c := range changes {
				for _, f := range faults {
					if e.Mini == nil && !f.arrives {
						continue // to save time: the proxy refuses, whatever is behind it
					}
					t.Run(way+", "+c.name+", "+f.name, func(t *testing.T) {
						for nth, more := first(), true; more && nth < 30; nth += step {
							r := &trial{T: t, e: e, other: other, there: there, ambush: &ambush{nth: nth}}
							r.m, r.p = e.BehindBy(t, maker)
							r.when = fmt.Sprintf("command %d", nth)
							r.run(stage.NewScripted(t, r.m), c, f)
							more = r.ambush.reached()
						}
					})
				}
			}
		}
	})
}

// step is how many commands lie between two that are struck: each is in CI, which runs this with the race detector once
// more, and every third, beginning with any, elsewhere.
var step = map[bool]int{true: 1, false: 3}[os.Getenv("CI") != "" && !racing]

func first() int { return 1 + mathrand.N(step) }

// trial is one change under one fault.
type trial struct {
	*testing.T
	e      *stage.Env
	m      *redsession.Manager // whose way to Redis has the fault
	p      *redistest.Proxy    // on that way
	other  *redsession.Manager // whose way to Redis has no fault
	there  *stage.Scripted     // a browser at it
	ambush *ambush
	when   string
	before map[string]string // what lay in Redis at first
}

func (r *trial) run(st *stage.Scripted, c change, f fault) {
	r.Helper()
	r.before = r.e.Dump(r.T)
	before := r.there.Fork("")
	for _, ops := range c.before {
		before.Must(ops)
	}
	old := before.Cookie()
	st = st.Fork(old)
	release := st.Hold("hold " + c.ops)
	f.on(r.p, r.ambush.pick(f))
	a := release()
	r.p.CutReply(nil)
	r.p.CutRequest(nil)
	r.p.Reply(nil)
	if err := r.m.Close(); err != nil { // what it left to the background is over then
		r.Errorf("%s: Close: %v", r.when, err)
	}
	switch a.StatusCode {
	case http.StatusOK:
		r.want("its cookie", st.Cookie(), c.done)
		r.want("the cookie from before", old, c.old)
	case http.StatusServiceUnavailable:
		r.wantNoCookie(a, old, c)
		r.want("the cookie from before, after a 503,", old, c.undone...)
	default:
		r.Errorf("%s: got status %d, want 200 or 503: %s", r.when, a.StatusCode, a.Text)
	}
	r.wantNothingElse([]string{old, st.Cookie()}, a.StatusCode != http.StatusOK && old != "" && f.after && f.arrives)
	r.ambush.replay(r.T, r.e)
	cookies := []string{old, st.Cookie()}
	if a.StatusCode == http.StatusOK {
		r.want("its cookie, after a late duplicate,", st.Cookie(), c.done)
		r.want("the cookie from before, after a late duplicate,", old, c.old)
	} else {
		r.want("the cookie from before, after a 503 and a late duplicate,", old, c.undone...)
		cookies = append(cookies, r.again(old, c))
	}
	r.wantListed(cookies)
	if strings.Contains(c.name, "tag") {
		r.wantTagEnded(cookies)
	}
	r.wantEnded(cookies)
}

// wantNoCookie checks the cookies of a 503. Only a logout may send one: one that has expired, if the session has ended, or
// one with which any server ends it.
func (r *trial) wantNoCookie(a stage.Answer, old string, c change) {
	r.Helper()
	for _, set := range a.SetCookies() {
		if !strings.HasPrefix(c.ops, "logout") {
			r.Errorf("%s: got cookies %v with a 503, want none", r.when, a.SetCookies())
		} else if set.MaxAge >= 0 {
			r.want("the cookie of a logout that is yet to be made", set.Value, "")
		}
		r.want("the cookie from before, after a logout,", old, "")
	}
}

// want checks what a cookie reads.
func (r *trial) want(what, cookie string, want ...string) {
	r.Helper()
	if got := r.there.Fork(cookie).Do(); got.StatusCode != http.StatusOK || !slices.Contains(want, got.Text) {
		r.Errorf("%s: %s reads %d %q, want one of %q", r.when, what, got.StatusCode, got.Text, want)
	}
}

// wantNothingElse checks that no record is left that none of the cookies reads. Where nobody could ask what became of a
// login or a rotation, its record stays: the step that decides may yet come.
func (r *trial) wantNothingElse(cookies []string, unknown bool) {
	r.Helper()
	known := make(map[string]bool)
	for _, cookie := range cookies {
		known["session:"+r.there.Fork(cookie).Do().Header.Get("X-Id")] = true
	}
	left := 0
	for key, raw := range r.e.Dump(r.T) {
		if _, since := r.before[key]; !since && !known[key] && !stage.Tombstone(raw) && !strings.Contains(key, ":probe:") {
			left++
		}
	}
	if left > 1 || left == 1 && !unknown {
		r.Errorf("%s: got %d records that no cookie reads, want none", r.when, left)
	}
}

// again asks for the change once more, and returns the cookie that comes of it.
func (r *trial) again(old string, c change) string {
	r.Helper()
	st := r.there.Fork(old)
	ended := st.Do().Text == ""
	if ended && !c.retry || ended && !strings.Contains(c.ops, "login") && old != "" {
		return st.Cookie()
	}
	if a := st.Do(c.ops); a.StatusCode != http.StatusOK {
		r.Errorf("%s: asked for again: got status %d, want 200: %s", r.when, a.StatusCode, a.Text)
	}
	user, _, _ := strings.Cut(c.done, " ")
	if got := st.Do().Text; !strings.HasPrefix(got, user) {
		r.Errorf("%s: asked for again: got %q, want the session of %s", r.when, got, user)
	}
	return st.Cookie()
}

// wantListed checks that who is logged in is in the list of their sessions, and in that of their tag.
func (r *trial) wantListed(cookies []string) {
	r.Helper()
	for _, cookie := range cookies {
		a := r.there.Fork(cookie).Do("facts")
		user, _, _ := strings.Cut(a.Text, " ")
		if user != "alice" && user != "bob" {
			continue
		}
		in := func(list func(context.Context, string) ([]redsession.Info, error), whose string) func() bool {
			return func() bool {
				sessions, err := list(r.Context(), whose)
				return err == nil && slices.ContainsFunc(sessions, func(i redsession.Info) bool { return i.ID == a.Header.Get("X-Id") })
			}
		}
		if listed := in(r.other.Sessions, user); !listed() { // the entry of a rotation may be on its way
			stage.Until(r.T, r.when+": the entry in the user's index", listed)
		}
		if listed := in(r.other.Tagged, "sid"); strings.Contains(a.Header.Get("X-Facts"), "[sid]") && !listed() {
			stage.Until(r.T, r.when+": the entry in the tag's index", listed)
		}
	}
}

// wantTagEnded revokes all with the tag, and checks that no cookie of a session that had it brings that back.
func (r *trial) wantTagEnded(cookies []string) {
	r.Helper()
	tagged := make(map[string]bool)
	for _, cookie := range cookies {
		tagged[cookie] = strings.Contains(r.there.Fork(cookie).Do("facts").Header.Get("X-Facts"), "[sid]")
	}
	r.e.Clock.Add(1e9)
	if _, err := r.other.RevokeTagged(r.Context(), "sid"); err != nil {
		r.Errorf("%s: RevokeTagged: %v", r.when, err)
	}
	r.ambush.replay(r.T, r.e)
	for cookie := range tagged {
		if got := r.there.Fork(cookie).Do().Text; tagged[cookie] && got != "" {
			r.Errorf("%s: after RevokeTagged a cookie reads %q, want nobody", r.when, got)
		}
	}
	if infos, err := r.other.Tagged(r.Context(), "sid"); len(infos) != 0 || err != nil {
		r.Errorf("%s: got %d sessions, %v with the tag after RevokeTagged, want none", r.when, len(infos), err)
	}
}

// wantEnded revokes all, and checks that no cookie and no late duplicate brings anything back.
func (r *trial) wantEnded(cookies []string) {
	r.Helper()
	r.e.Clock.Add(1e9)
	for _, user := range []string{"alice", "bob"} {
		if _, err := r.other.RevokeUser(r.Context(), user); err != nil {
			r.Errorf("%s: RevokeUser: %v", r.when, err)
		}
	}
	r.ambush.replay(r.T, r.e)
	for _, cookie := range cookies {
		if got := r.there.Fork(cookie).Do().Text; strings.HasPrefix(got, "alice") || strings.HasPrefix(got, "bob") {
			r.Errorf("%s: after RevokeUser a cookie reads %q, want nobody", r.when, got)
		}
	}
	r.e.Clock.Add(1e9) // the next login is one after the revocation
}

// The same for a session of another package: whatever is lost while it is taken over, its user is served, now or with the
// next request, by one session that has what was acknowledged.
func TestWritesUnderEachFaultOfATakeOver(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			for _, f := range faults {
				t.Run(way+", "+f.name, func(t *testing.T) {
					for nth, more := first(), true; more && nth < 30; nth += step {
						more = takeOver(t, e, maker, f, &ambush{nth: nth})
					}
				})
			}
		}
	})
}

func takeOver(t *testing.T, e *stage.Env, maker stage.Maker, f fault, hit *ambush) (reached bool) {
	t.Helper()
	when, id, user := fmt.Sprintf("command %d", hit.nth), rand.Text(), rand.Text() // whoever was revoked is not taken over
	var old stage.OldStore
	old.Put(stage.OldSession(e, id, user))
	m, p := e.BehindBy(t, maker, stage.Adopting(old.Legacy()))
	other := maker(t, stage.Adopting(old.Legacy()))
	st := stage.NewScripted(t, m).WithOldCookie(id)
	there := stage.NewScripted(t, other)
	f.on(p, hit.pick(f))
	a := st.Do("add:n")
	p.CutReply(nil)
	p.CutRequest(nil)
	p.Reply(nil)
	if err := m.Close(); err != nil {
		t.Errorf("%s: Close: %v", when, err)
	}
	next, want := there.WithOldCookie(id), []string{user + " cart=[tea] n=1", user + " cart=[tea] n=2"}
	switch a.StatusCode {
	case http.StatusOK:
		next, want = there.Fork(st.Cookie()), want[1:]
	case http.StatusServiceUnavailable:
		if set := a.SetCookies(); len(set) > 0 { // the take-over is done, the write is not
			next = there.Fork(set[0].Value)
		}
	default:
		t.Errorf("%s: got status %d, want 200 or 503: %s", when, a.StatusCode, a.Text)
	}
	next.Must("add:n")
	most := 1
	if a.StatusCode != http.StatusOK && f.after && f.arrives {
		most = 2 // nobody could ask what became of a record: it stays, and is of use to nobody
	}
	if sessions, err := other.Sessions(t.Context(), user); err != nil || len(sessions) < 1 || len(sessions) > most {
		t.Errorf("%s: got %d sessions, %v, want at least one and at most %d", when, len(sessions), err, most)
	}
	for _, late := range []bool{false, true} {
		if late {
			hit.replay(t, e)
		}
		if got := next.Do().Text; !slices.Contains(want, got) {
			t.Errorf("%s: got status %d, and with another write (late duplicates: %v) %q, want one of %q", when, a.StatusCode, late, got, want)
		}
	}
	e.Clock.Add(1e9)
	if _, err := other.RevokeUser(t.Context(), user); err != nil {
		t.Errorf("%s: RevokeUser: %v", when, err)
	}
	hit.replay(t, e)
	for _, b := range []*stage.Scripted{there.WithOldCookie(id), next} {
		if got := b.Do().Text; got != "" {
			t.Errorf("%s: after RevokeUser a cookie reads %q, want nobody", when, got)
		}
	}
	e.Clock.Add(1e9)
	return hit.reached()
}
