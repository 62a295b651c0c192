package redsessiontest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

const cart = redsession.Key[[]string]("cart")

// shop is what the examples test.
func shop(m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /cart", func(_ http.ResponseWriter, r *http.Request) {
		cart.Update(redsession.FromContext(r.Context()), func(old []string) []string {
			return append(old, r.FormValue("item"))
		})
	})
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if s.Degraded() {
			w.Header().Set("Warning", "orders may be old")
		}
		_, _ = io.WriteString(w, "orders of "+s.UserID())
	})
	return m.Handler(m.RequireLogin(mux))
}

// t stands for the argument of the test function that an example is in.
var t testing.TB = stand{}

// stand runs the examples without a test.
type stand struct{ testing.TB }

func (stand) Helper()           {}
func (stand) Cleanup(func())    {}
func (stand) Output() io.Writer { return io.Discard }
func (stand) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func Example() {
	m := redsessiontest.New(t)
	r := m.Login(httptest.NewRequest("POST", "/cart?item=pear", nil), "alice")
	w := httptest.NewRecorder()
	shop(m.Manager).ServeHTTP(w, r)

	fmt.Println(w.Code)
	m.After(r, w.Result(), func(s *redsession.Session) {
		items, _ := cart.Get(s)
		fmt.Println(s.UserID(), items)
	})
	// Output:
	// 200
	// alice [pear]
}

func ExampleManager_Login() {
	m := redsessiontest.New(t)
	r := m.Login(httptest.NewRequest("POST", "/cart?item=pear", nil), "alice", func(s *redsession.Session) {
		cart.Set(s, []string{"apple"})
	})
	shop(m.Manager).ServeHTTP(httptest.NewRecorder(), r)

	m.With(r, func(s *redsession.Session) { fmt.Println(cart.Get(s)) })
	// Output: [apple pear] true
}

func ExampleManager_LoginAs() {
	m := redsessiontest.New(t)
	h := m.Handler(m.RequireLevel(2)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		_, _ = io.WriteString(w, s.UserID()+" by "+s.ActorID())
	})))
	r := m.Login(httptest.NewRequest("GET", "/", nil), "support-7")
	r = m.LoginAs(r, "alice", redsession.By("support-7"), redsession.Proved(2, "pwd", "otp"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)

	fmt.Println(w.Code, w.Body)
	// Output: 200 alice by support-7
}

func ExampleManager_Advance() {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	r := m.Login(httptest.NewRequest("GET", "/orders", nil), "alice")
	for _, wait := range []time.Duration{59 * time.Minute, 61 * time.Minute} {
		m.Advance(wait)
		w := httptest.NewRecorder()
		shop(m.Manager).ServeHTTP(w, r)
		fmt.Println(wait, w.Code)
	}
	// Output:
	// 59m0s 200
	// 1h1m0s 401
}

// A page that counts down asks how much time is left, which prolongs nothing.
func ExampleManager_Advance_absentUser() {
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Assurance = redsession.AAL2 // an hour without a request
		c.Passive = func(r *http.Request) bool { return r.URL.Path == "/left" }
	})
	h := m.Handler(m.TimeLeft())
	r := m.Login(httptest.NewRequest("GET", "/left", nil), "alice")
	for range 3 {
		m.Advance(25 * time.Minute)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var left struct{ Idle int }
		_ = json.Unmarshal(w.Body.Bytes(), &left)
		fmt.Println("minutes left:", left.Idle/60)
	}
	// Output:
	// minutes left: 34
	// minutes left: 9
	// minutes left: 0
}

// A cookie that was copied before a rotation and comes late is refused; with EndSession nobody
// keeps the session.
func ExampleManager_Advance_stolenCookie() {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.OnReplay = redsession.EndSession })
	thief := m.Login(httptest.NewRequest("GET", "/orders", nil), "alice")
	m.Advance(4 * time.Hour)
	open := func(r *http.Request) *http.Response {
		w := httptest.NewRecorder()
		shop(m.Manager).ServeHTTP(w, r)
		return w.Result()
	}
	owner := httptest.NewRequest("GET", "/orders", nil)
	for _, c := range open(thief.Clone(thief.Context())).Cookies() { // rotates, as three hours are over
		owner.AddCookie(c)
	}
	fmt.Println("owner", open(owner).StatusCode)
	m.Advance(2 * time.Minute)
	fmt.Println("thief", open(thief).StatusCode)
	fmt.Println("owner", open(owner).StatusCode)
	// Output:
	// owner 200
	// thief 401
	// owner 401
}

func ExampleManager_TakeRedisAway() {
	m := redsessiontest.New(t)
	r := m.Login(httptest.NewRequest("GET", "/orders", nil), "alice")

	m.TakeRedisAway()
	w := httptest.NewRecorder()
	shop(m.Manager).ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Warning"))

	m.BringRedisBack()
	w = httptest.NewRecorder()
	shop(m.Manager).ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Warning"))
	// Output:
	// 200 orders may be old
	// 200
}

func ExampleManager_Cookie() {
	m := redsessiontest.New(t)
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		redsession.FromContext(r.Context()).Logout()
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, m.Login(httptest.NewRequest("POST", "/logout", nil), "alice"))

	c := m.Cookie(w.Result())
	fmt.Println(c != nil && c.MaxAge < 0)
	// Output: true
}

func ExampleManager_WithCSRFToken() {
	m := redsessiontest.New(t)
	h := m.Handler(m.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))) // your program
	r := m.Login(httptest.NewRequest("POST", "/orders", nil), "alice")
	for _, r := range []*http.Request{r, m.WithCSRFToken(r)} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 403
	// 200
}

// A webhook, which changes a session outside of its requests.
func Example_webhook() {
	m := redsessiontest.New(t)
	r := m.Login(httptest.NewRequest("GET", "/", nil), "alice", func(s *redsession.Session) {
		cart.Set(s, []string{"pear"})
	})
	list, _ := m.Sessions(r.Context(), "alice")

	// What is tested:
	paid := func(user, id string) error {
		return m.ChangeOf(r.Context(), user, id, func(s *redsession.Session) error {
			cart.Delete(s)
			return nil
		})
	}
	fmt.Println(paid("alice", list[0].ID))
	fmt.Println(errors.Is(paid("bob", list[0].ID), redsession.ErrGone))
	m.With(r, func(s *redsession.Session) { fmt.Println(cart.Get(s)) })
	// Output:
	// <nil>
	// true
	// [] false
}

func ExampleUsers() {
	type user struct{ Name string }
	m := redsessiontest.New(t, redsessiontest.Users(map[string]*user{"alice": {Name: "Alice"}}))
	greeting := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := redsession.UserAs[*user](redsession.FromContext(r.Context()))
		_, _ = io.WriteString(w, "Hello, "+u.Name)
	}))
	w := httptest.NewRecorder()
	greeting.ServeHTTP(w, m.Login(httptest.NewRequest("GET", "/", nil), "alice"))
	fmt.Println(w.Body)
	// Output:
	// Hello, Alice
}
