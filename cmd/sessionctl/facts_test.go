package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

func TestListAndShowTellWhatTheLoginSaid(t *testing.T) {
	srv := redistest.Start(t)
	m, err := redsession.New(redsession.Config{
		URL: srv.URL, Secrets: [][]byte{secret}, Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	id := ""
	r := httptest.NewRequest("GET", "/", nil)
	for _, login := range []func(s *redsession.Session){
		func(s *redsession.Session) { s.Login("bob") },
		func(s *redsession.Session) {
			s.Login("alice", redsession.By("bob"), redsession.Label("desk 7"), redsession.Proved(2, "pwd", "otp"), redsession.Tag("sid-of-the-provider"))
		},
	} {
		w := httptest.NewRecorder()
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s := redsession.FromContext(r.Context())
			login(s)
			id = s.ID()
		})).ServeHTTP(w, r)
		r = httptest.NewRequest("GET", "/", nil)
		r.AddCookie(w.Result().Cookies()[0])
	}
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{"list"}, []string{"alice\t", "\tdesk 7\t2\tbob\n"}},
		{[]string{"list", "--user", "alice", "--json"}, []string{`"label":"desk 7","level":2,"actor":"bob"`}},
		{[]string{"show", id}, []string{"acting as that user", "bob", "label", "desk 7", "assurance level"}},
		{[]string{"show", "--json", id}, []string{`"label":"desk 7","level":2,"actor":"bob"`}},
	} {
		ctl(t, srv.URL, row.args...).wants(t, exitDone, row.want...)
	}
	ctlTerminal(t, 400, "", srv.URL, "list").wants(t, exitDone, "LABEL", "LEVEL", "ACTOR", "desk 7")
	ctl(t, srv.URL, "revoke", "--user", "bob").wants(t, exitDone, "1 session revoked")
	ctl(t, srv.URL, "count").wants(t, exitDone, "0\n")
}
