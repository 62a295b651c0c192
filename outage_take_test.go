package redsession_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/redsession/redsession"
)

// A voucher must not be cashed twice, by a server that Redis is away from and by
// one that it is not.
func TestTakeDuringAnOutageGivesTheValueToNobody(t *testing.T) {
	const voucher = redsession.Key[string]("voucher")
	o := newOutage(t)
	taking := handlers{"/take": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if r.FormValue("hold") != "" {
			o.st.gate.pass()
		}
		v, ok, err := voucher.Take(r.Context(), s)
		fmt.Fprint(w, v, ok, errors.Is(err, redsession.ErrUnavailable))
	}}
	for _, early := range []bool{false, true} { // loaded before the outage
		here, there := newStage(t, o.m, taking), newStage(t, o.manager(t), taking)
		here.must("login:alice set:voucher:50EUR")
		there = there.fork(here.cookie())
		var body string
		done := make(chan struct{})
		if early {
			go func() {
				defer close(done)
				body = here.get("/take?hold=1").body
			}()
			leave := <-o.st.gate
			o.down(t)
			close(leave)
			<-done
		} else {
			o.down(t)
			body = here.get("/take").body
		}
		if want := "false true"; body != want {
			t.Errorf("during the outage, loaded before it %v: got %q, want %q: no value, and ErrUnavailable", early, body, want)
		}
		if got, want := there.get("/take").body, "50EURtrue false"; got != want {
			t.Errorf("at the other server, loaded before the outage %v: got %q, want %q", early, got, want)
		}
		o.up(t)
		if got, want := here.get("/take").body, "false false"; got != want {
			t.Errorf("after the outage, loaded before it %v: got %q, want %q", early, got, want)
		}
	}
}
