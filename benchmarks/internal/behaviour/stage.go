package behaviour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/benchmarks/internal/peer"
	"github.com/redsession/redsession/internal/redistest"
)

// stage is a peer with a Redis of its own, and a server whose handler does what the words of a request say.
type stage struct {
	t        testing.TB
	peer     peer.Peer
	server   *redistest.Server
	proxy    *redistest.Proxy
	admin    *redis.Client
	patience time.Duration
	soon     time.Duration

	// Of the scenario that is played:
	web      *httptest.Server
	gate     chan chan struct{} // gives whoever holds a request the means to let it go on
	finished chan struct{}      // a handler asked to tell has returned
}

// play opens the peer anew, on an empty Redis, for one scenario.
func (st *stage) play(sc scenario) (v verdict, err error) {
	if err := st.admin.FlushAll(context.Background()).Err(); err != nil {
		return v, err
	}
	site, err := st.peer.Open(peer.Settings{Addr: st.proxy.Addr, Lifetime: sc.lifetime})
	if err != nil {
		return v, fmt.Errorf("opening %s: %w", st.peer.Name, err)
	}
	st.gate, st.finished = make(chan chan struct{}), make(chan struct{})
	st.web = httptest.NewUnstartedServer(st.tell(site.Scripted(st.handle)))
	st.web.Config.ErrorLog = log.New(io.Discard, "", 0) // what the peers do to net/http is seen by the client
	st.web.Start()
	defer func() {
		st.web.Close()
		err = errors.Join(err, site.Close())
	}()
	return sc.run(st), nil
}

// another returns a stage with another server of the peer, on the same Redis by a way of its own.
func (st *stage) another() (next *stage, closed func(), err error) {
	site, err := st.peer.Open(peer.Settings{Addr: st.server.Addr})
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", st.peer.Name, err)
	}
	next = &stage{t: st.t, peer: st.peer, server: st.server, proxy: st.proxy, admin: st.admin, patience: st.patience, soon: st.soon}
	next.web = httptest.NewServer(site.Scripted(next.handle))
	return next, func() {
		next.web.Close()
		_ = site.Close()
	}, nil
}

func (st *stage) tell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("tell") != "" {
			defer func() { st.finished <- struct{}{} }()
		}
		next.ServeHTTP(w, r)
	})
}

// handle does what the words of the query say, saves where the peer's handlers have to, and answers with the session.
func (st *stage) handle(w http.ResponseWriter, r *http.Request, v peer.Visit) {
	w.Header().Set(sawHeader, "user="+v.User())
	saved := false
	for _, word := range strings.Fields(r.FormValue("do")) {
		verb, rest, _ := strings.Cut(word, ":")
		name, value, _ := strings.Cut(rest, ":")
		var err error
		switch verb {
		case "hold":
			leave := make(chan struct{})
			st.gate <- leave
			<-leave
		case "gone":
			<-r.Context().Done()
		case "flush":
			err = http.NewResponseController(w).Flush()
		case "hints":
			w.WriteHeader(http.StatusEarlyHints)
		case "save":
			err, saved = v.Save(), true
		default:
			change(v, verb, name, value)
		}
		if err != nil {
			http.Error(w, "the session cannot be kept", http.StatusInternalServerError)
			return
		}
	}
	page := describe(v)
	if !saved {
		if err := v.Save(); err != nil {
			http.Error(w, "the session cannot be kept", http.StatusInternalServerError)
			return
		}
	}
	_, _ = io.WriteString(w, page)
}

const sawHeader = "X-Handler-Saw"

func change(v peer.Visit, verb, name, value string) {
	switch verb {
	case "set":
		v.Set(name, value)
	case "add":
		v.Increment(name)
	case "login":
		v.Login(name)
	case "logout":
		v.Logout()
	}
}

const parallel = 50

// describe is the page: "user=alice a=1".
func describe(v peer.Visit) string {
	keys := []string{"a", "n", "cart", "late"}
	for i := range parallel {
		keys = append(keys, key(i))
	}
	words := []string{"user=" + v.User()}
	for _, k := range keys {
		if value := v.Get(k); value != nil {
			words = append(words, fmt.Sprintf("%s=%v", k, value))
		}
	}
	return strings.Join(words, " ")
}

func key(i int) string { return fmt.Sprintf("k%02d", i) }

// answer is what a client got.
type answer struct {
	status int // 0: none came
	page   string
	saw    string // who the handler took the client for, if it ran and the response tells
	set    bool   // a cookie came
	took   time.Duration
	late   bool // the client lost patience
}

// has tells whether the page shows word: "user=alice".
func (a answer) has(word string) bool {
	for _, w := range strings.Fields(a.page) {
		if w == word {
			return true
		}
	}
	return false
}

// browser keeps a cookie.
type browser struct {
	*stage
	cookie string
}

func (st *stage) browser() *browser { return &browser{stage: st} }

// member returns a browser that is logged in. A scenario without one would find everything right.
func (st *stage) member(user string) *browser {
	b := st.browser()
	b.do("login:" + user)
	if a := b.do(""); !a.has("user=" + user) {
		st.t.Errorf("%s: %s cannot log in: status %d", st.peer.Name, user, a.status)
	}
	return b
}

// fork returns another browser with the same cookie.
func (b *browser) fork() *browser { return &browser{stage: b.stage, cookie: b.cookie} }

// do sends a request whose handler does what the words say.
func (b *browser) do(words string) answer {
	const forever = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), forever)
	defer cancel()
	return b.send(ctx, words, url.Values{})
}

func (b *browser) send(ctx context.Context, words string, query url.Values) answer {
	query.Set("do", words)
	begin := time.Now()
	r, err := http.NewRequestWithContext(ctx, "GET", b.web.URL+"/?"+query.Encode(), nil)
	if err != nil {
		return answer{}
	}
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	response, err := b.web.Client().Do(r)
	if err != nil {
		return answer{took: time.Since(begin), late: ctx.Err() != nil}
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	a := answer{status: response.StatusCode, page: string(page), saw: response.Header.Get(sawHeader), took: time.Since(begin)}
	if err != nil {
		a.status = 0 // cut off: no client takes that for a success
	}
	for _, c := range response.Cookies() {
		a.set = true
		if b.cookie = c.Name + "=" + c.Value; c.MaxAge < 0 {
			b.cookie = ""
		}
	}
	return a
}

// hold is do for words with hold. It returns once the handler is there, or has answered without getting there; release
// lets it go on and returns the answer.
func (b *browser) hold(words string) (release func() answer) {
	done := make(chan answer, 1)
	go func() { done <- b.do(words) }()
	select {
	case leave := <-b.gate:
		return sync.OnceValue(func() answer {
			close(leave)
			return <-done
		})
	case a := <-done:
		return func() answer { return a }
	}
}

// records returns the keys of Redis that hold sessions.
func (st *stage) records() []string {
	var keys []string
	for it := st.admin.ScanType(context.Background(), 0, "*", 0, "string").Iterator(); it.Next(context.Background()); {
		keys = append(keys, it.Val())
	}
	return keys
}
