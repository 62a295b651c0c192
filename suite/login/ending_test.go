package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// scene is a session of alice's that is due for rotation on the first server,
// and who may end it on the second.
type scene struct {
	t       *testing.T
	admin   *redsession.Manager
	owner   *stage.Browser // of the session
	old, id string         // its cookie and id before the rotation
	visitor *stage.Browser // without a cookie, on the second server
	fellow  *stage.Browser // logged in as alice too, on the second server
}

// newScene makes Redis empty and sets a new scene.
func newScene(t *testing.T, e *stage.Env, first, second *stage.Browser, admin *redsession.Manager, fellow bool) *scene {
	t.Helper()
	if err := e.Client.FlushDB(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, admin: admin, owner: first.Fresh(), visitor: second.Fresh(), fellow: second.Fresh()}
	sc.owner.Get("/login?user=alice")
	sc.old, sc.id = sc.owner.Cookie(), sc.owner.State().ID
	e.Advance(t, 3*time.Hour)
	if fellow {
		sc.fellow.Get("/login?user=alice")
	}
	return sc
}

// users tells as whom the cookies that the owner ever had are served, on both
// servers.
func (sc *scene) users() string {
	var users []string
	for _, server := range []*stage.Browser{sc.owner, sc.visitor} {
		for _, cookie := range []string{sc.old, sc.owner.Cookie()} {
			if cookie != "" {
				users = append(users, server.With(cookie).Get("/who").Text)
			}
		}
	}
	slices.Sort(users)
	return strings.Join(slices.Compact(users), ",")
}

// records counts alice's sessions in Redis, whether the index has them or not.
func (sc *scene) records() (n int) {
	for i, err := range sc.admin.All(context.Background()) {
		if err != nil {
			sc.t.Error(err)
		}
		if i.UserID == "alice" {
			n++
		}
	}
	return n
}

// endings lists every way to end a session of alice's.
var endings = []struct {
	name   string
	limit  int  // MaxPerUser
	fellow bool // alice has another session
	stays  int  // sessions of hers that are left
	end    func(sc *scene) error
}{
	{"logout", 0, true, 1, func(sc *scene) error { sc.visitor.With(sc.old).Get("/logout"); return nil }},
	{"Revoke", 0, true, 1, func(sc *scene) error { return sc.admin.Revoke(context.Background(), sc.id) }},
	{"RevokeOf", 0, true, 1, func(sc *scene) error { return sc.want(sc.admin.RevokeOf(context.Background(), "alice", sc.id)) }},
	{"RevokeUser", 0, true, 0, func(sc *scene) error { return stage.ErrorOf(sc.admin.RevokeUser(context.Background(), "alice")) }},
	{"RevokeOthers", 0, true, 1, func(sc *scene) error { sc.fellow.Get("/others"); return nil }},
	{"RevokeAll", 0, true, 0, func(sc *scene) error { return stage.ErrorOf(sc.admin.RevokeAll(context.Background())) }},
	{"RevokeAll when there is one session", 0, false, 0, func(sc *scene) error { return stage.ErrorOf(sc.admin.RevokeAll(context.Background())) }},
	{"a login beyond MaxPerUser", 1, false, 1, func(sc *scene) error { sc.visitor.Get("/login?user=alice"); return nil }},
}

func (sc *scene) want(found bool, err error) error {
	if err == nil && !found {
		err = errors.New("got false, want true: the session lived")
	}
	return err
}

// TestEndingsReachASessionThatIsJustRotating runs each ending in each gap
// between two exchanges of a rotation with Redis, and a whole rotation in each
// gap of the ending.
func TestEndingsReachASessionThatIsJustRotating(t *testing.T) {
	t.Parallel()
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				limit := func(c *redsession.Config) { c.MaxPerUser = tt.limit }
				rotation, ending := &stage.Latch{}, &stage.Latch{}
				one, two := e.Hooked(t, rotation, limit), e.Hooked(t, ending, limit)
				first, other := stage.LifeBrowser(t, one, nil), stage.LifeBrowser(t, two, stage.OthersHandlers(t, two))
				requests := []string{"/who", "/set?v=late"}
				if e.Mini == nil {
					requests = requests[1:] // to save time: it rotates and writes
				}
				for _, request := range requests {
					for _, held := range []*stage.Latch{rotation, ending} {
						gaps := 0
						for ; ; gaps++ {
							sc := newScene(t, e, first, other, two, tt.fellow)
							var a stage.Answer
							var err error
							rotate, end := func() { a = sc.owner.Get(request) }, func() { err = tt.end(sc) }
							when := fmt.Sprintf("%s held before exchange %d, the ending within", request, gaps+1)
							if held == ending {
								rotate, end = end, rotate
								when = fmt.Sprintf("the ending held before exchange %d, %s within", gaps+1, request)
							}
							if !held.Between(gaps+1, rotate, end) {
								break
							}
							sc.wantEnded(when, request, a, err, tt.stays)
						}
						if gaps < 2 {
							t.Errorf("%s: got %d gaps, want more to try", request, gaps)
						}
					}
				}
			})
		})
	}
}

func (sc *scene) wantEnded(when, request string, a stage.Answer, err error, stays int) {
	sc.t.Helper()
	if err != nil {
		sc.t.Errorf("%s: %v", when, err)
	}
	if lost := a.StatusCode == http.StatusConflict && request != "/who"; a.StatusCode != http.StatusOK && !lost {
		sc.t.Errorf("%s: got %d for the request that rotates, want 200, or 409 for a lost write", when, a.StatusCode)
	}
	if got := sc.users(); got != "" {
		sc.t.Errorf("%s: got the session of %q, want it ended", when, got)
	}
	if got := sc.records(); got != stays {
		sc.t.Errorf("%s: got %d records of the user's, want %d", when, got, stays)
	}
}

func TestEndingByAnIDFromManyRotationsAgo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(a *redsession.Admin, id string) error
	}{
		{"Revoke", func(a *redsession.Admin, id string) error { return a.Revoke(context.Background(), id) }},
		{"RevokeOf", func(a *redsession.Admin, id string) error {
			return stage.ErrorOf(a.RevokeOf(context.Background(), "alice", id))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := stage.NewMini(t)
			m := e.Manager(t, func(c *redsession.Config) { c.RotateEvery = time.Hour })
			b := stage.LifeBrowser(t, m, nil)
			b.Get("/login?user=alice")
			id := b.State().ID
			for range 12 {
				e.Advance(t, time.Hour)
				b.Get("/who") // rotates
				b.Get("/who") // shows the new cookie
			}
			if err := tt.end(m.Admin, id); err != nil {
				t.Error(err)
			}
			if got := b.Get("/who").Text; got != "" || len(e.Events.Of(redsession.EventRotated)) != 12 {
				t.Errorf("got user %q after %d rotations, want none", got, len(e.Events.Of(redsession.EventRotated)))
			}
		})
	}
}

func TestMaxPerUserCountsASessionOnceWhileItRotates(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		limit := func(c *redsession.Config) { c.MaxPerUser = 2 }
		rotation := &stage.Latch{}
		one, two := e.Hooked(t, rotation, limit), e.Manager(t, limit)
		first, other := stage.LifeBrowser(t, one, nil), stage.LifeBrowser(t, two, nil)
		for n, more := 1, true; more; n++ {
			sc := newScene(t, e, first, other, two, false)
			more = rotation.Between(n, func() { sc.owner.Get("/who") }, func() { sc.visitor.Get("/login?user=alice") })
			if got := sc.users(); got != "alice" {
				t.Errorf("a second login before exchange %d of the rotation: got the first session of %q, want it alive", n, got)
			}
		}
	})
}

func TestEndingOfTheOthersSparesOnesOwnSuccessor(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		rotation, ending := &stage.Latch{}, &stage.Latch{}
		one, two := e.Hooked(t, rotation), e.Hooked(t, ending)
		first, other := stage.LifeBrowser(t, one, nil), stage.LifeBrowser(t, two, stage.OthersHandlers(t, two))
		for _, held := range []*stage.Latch{rotation, ending} {
			for n, more := 1, true; more; n++ {
				sc := newScene(t, e, first, other, two, true)
				ended := "1"
				rotate, end := func() { sc.owner.Get("/who") }, func() { ended = sc.visitor.With(sc.old).Get("/others").Text }
				if held == ending {
					rotate, end = end, rotate
				}
				more = held.Between(n, rotate, end)
				if got := sc.users(); got != "alice" || ended != "1" {
					t.Errorf("exchange %d: got the session of %q and %s others ended, want alice's and 1", n, got, ended)
				}
				if got := sc.fellow.Get("/who").Text; got != "" && more {
					t.Errorf("exchange %d: got the other session of %q, want it ended", n, got)
				}
			}
		}
	})
}
