package stage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// Scripted is a browser whose requests say in words what their handler is to do.
type Scripted struct {
	*Browser
	Gate Gate
}

// NewScripted starts a server of m with a browser on it. more are other pages of the server.
func NewScripted(t *testing.T, m *redsession.Manager, more ...Handlers) *Scripted {
	t.Helper()
	g := make(Gate)
	hs := Handlers{"/": g.Play}
	for _, h := range more {
		maps.Copy(hs, h)
	}
	return &Scripted{NewBrowser(t, Serve(t, m, hs)), g}
}

// Fork returns another browser with that cookie, none if it is empty.
func (st *Scripted) Fork(cookie string) *Scripted {
	b := st.With(cookie)
	if cookie == "" {
		b.HTTP.Jar, _ = cookiejar.New(nil)
	}
	return &Scripted{b, st.Gate}
}

// Do has the handler do what ops say; the body is the session as it then is.
func (st *Scripted) Do(ops ...string) Answer {
	st.T.Helper()
	return st.Get("/?ops=" + url.QueryEscape(strings.Join(ops, " ")))
}

// Must is do, and fails the test unless the status is 200.
func (st *Scripted) Must(ops ...string) Answer {
	st.T.Helper()
	a := st.Do(ops...)
	if a.StatusCode != http.StatusOK {
		st.T.Errorf("%q: got status %d, want 200: %s", ops, a.StatusCode, a.Text)
	}
	return a
}

// Hold is do for ops with the word hold. It returns once the handler is there;
// release lets the handler go on and returns the answer.
func (st *Scripted) Hold(ops ...string) (release func() Answer) {
	st.T.Helper()
	done := make(chan Answer, 1)
	go func() { done <- st.Do(ops...) }()
	select {
	case leave := <-st.Gate:
		release = sync.OnceValue(func() Answer {
			close(leave)
			return <-done
		})
	case a := <-done:
		st.T.Fatalf("%q: got an answer of status %d before the handler got there", ops, a.StatusCode)
	}
	st.T.Cleanup(func() { release() })
	return release
}

// Gate holds whoever comes until the test lets it go on.
type Gate chan chan struct{}

// Pass waits until the test lets go.
func (g Gate) Pass() {
	leave := make(chan struct{})
	g <- leave
	<-leave
}

// Play does what the words of the query say and answers with the session.
func (g Gate) Play(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
	for _, op := range strings.Fields(r.FormValue("ops")) {
		word, rest, _ := strings.Cut(op, ":")
		name, value, _ := strings.Cut(rest, ":")
		switch word {
		case "hold":
			g.Pass()
		case "set":
			redsession.Key[string](name).Set(s, value)
		case "del":
			redsession.Key[string](name).Delete(s)
		case "add":
			redsession.Key[int](name).Update(s, func(n int) int { return n + 1 })
		case "login":
			s.Login(name, loginOptions(value)...)
		case "half":
			s.Login(name, append(loginOptions(value), redsession.Pending())...)
		case "promote":
			s.Promote(loginOptions(name)...)
		case "facts":
			w.Header().Set("X-Facts", Facts(s))
		case "remember":
			s.Login(name, redsession.RememberFor(2*time.Hour))
		case "flash":
			s.Flash(name)
		case "flashes":
			w.Header().Set("X-Flashes", strings.Join(s.Flashes(), " "))
		case "token":
			w.Header().Set("X-Token", s.Token())
		case "csrf":
			w.Header().Set("X-Csrf", s.CSRFToken())
		case "verify":
			fmt.Fprint(w, s.VerifyCSRF(name))
			return
		case "only":
			fmt.Fprint(w, Describe(s, name))
			return
		case "save":
			if err := s.Save(r.Context()); err != nil {
				http.Error(w, err.Error(), statusOf(err))
				return
			}
		case "try":
			if err := s.Save(r.Context()); err != nil {
				w.Header().Set("X-Error", strconv.Itoa(statusOf(err)))
			}
		default:
			plainly[word](s)
		}
	}
	w.Header().Set("X-Id", s.ID())
	fmt.Fprint(w, Describe(s, s.Keys()...))
}

// loginOptions are those that words such as "tag=a,label=b,by=bob,proved=2/pwd/otp" name.
func loginOptions(words string) (opts []redsession.LoginOption) {
	for word := range strings.SplitSeq(words, ",") {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "tag":
			opts = append(opts, redsession.Tag(value))
		case "label":
			opts = append(opts, redsession.Label(value))
		case "by":
			opts = append(opts, redsession.By(value))
		case "proved":
			level, methods, _ := strings.Cut(value, "/")
			n, _ := strconv.Atoi(level)
			opts = append(opts, redsession.Proved(n, strings.FieldsFunc(methods, func(r rune) bool { return r == '/' })...))
		}
	}
	return opts
}

// Facts is what the logins of s said of themselves.
func Facts(s *redsession.Session) string {
	text := fmt.Sprintf("%s %q %v %d%v", cmp.Or(s.UserID(), "nobody"), s.Label(), s.Tags(), s.Level(), s.Methods())
	if actor := s.ActorID(); actor != "" {
		text += " by " + actor
	}
	return text
}

var plainly = map[string]func(s *redsession.Session){
	"clear": (*redsession.Session).Clear, "logout": (*redsession.Session).Logout, "rotate": (*redsession.Session).Rotate,
	"huge": func(s *redsession.Session) { redsession.Key[string]("huge").Set(s, strings.Repeat("x", 3000)) },
	"odd":  func(s *redsession.Session) { redsession.Key[func()]("odd").Set(s, func() {}) },
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, redsession.ErrGone):
		return http.StatusConflict
	case errors.Is(err, redsession.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Describe returns the user and the values: "alice cart=1 n=2".
func Describe(s *redsession.Session, keys ...string) string {
	words := []string{s.UserID()}
	for _, k := range keys {
		if v, ok := redsession.Key[any](k).Get(s); ok {
			words = append(words, fmt.Sprintf("%s=%v", k, v))
		}
	}
	return strings.TrimSpace(strings.Join(words, " "))
}
