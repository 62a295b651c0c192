package forward_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/forward-auth.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// nginx starts one with the configuration of the document and returns a client of it. Everybody listens on sockets in
// the file system, so that there is no port to be taken by somebody else.
func nginx(t *testing.T, session, behind http.Handler) *http.Client {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil { // it is not in the path of everybody
		program, err = exec.LookPath("/usr/sbin/nginx")
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%v: CI has to install it (apt-get install nginx-light)", err)
	default:
		t.Skipf("%v: install it to run this test (apt-get install nginx-light)", err)
	}
	dir, err := os.MkdirTemp("", "nginx") // short: the name of a socket has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listen(t, filepath.Join(dir, "session"), session)
	listen(t, filepath.Join(dir, "behind"), behind)
	_, locations, _ := strings.Cut(document(t), "```nginx\n")
	locations, _, _ = strings.Cut(locations, "```")
	locations = strings.NewReplacer(
		"http://127.0.0.1:8080/auth", "http://unix:"+dir+"/session:/auth",
		"http://127.0.0.1:8080", "http://unix:"+dir+"/session:", "http://127.0.0.1:9000", "http://unix:"+dir+"/behind:",
	).Replace(locations)
	config := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http {
  access_log off; server_tokens off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen unix:%[1]s/nginx;
%[2]s
  }
}`, dir, locations)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", filepath.Join(dir, "nginx.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-done })
	client := &http.Client{
		Transport:     &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", dir+"/nginx") }},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	for until := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("unix", dir+"/nginx")
		if err == nil {
			_ = conn.Close()
			return client
		}
		select {
		case err = <-done:
			done <- err
		case <-time.After(5 * time.Millisecond):
			if time.Now().Before(until) {
				continue
			}
		}
		said, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		t.Fatalf("nginx does not answer: %v\n%s", err, said)
	}
}

func listen(t *testing.T, socket string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func TestForwardAuthBehindNginx(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Outage = redsession.FailClosed })
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		m.FromContext(r.Context()).Login("alice")
		http.Redirect(w, r, redsession.ReturnTo(r, "/"), http.StatusSeeOther)
	})
	mux.Handle("/", redsession.RedirectToLogin("/login"))
	all := http.NewServeMux()
	all.Handle("/auth", m.ForwardAuth(userHeader))
	all.Handle("/", m.Handler(m.CSRF(mux)))
	client := nginx(t, all, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s for %q: %s", r.Method, r.RequestURI, r.Header["X-User"], b)
	}))
	var cookie string
	send := func(method, path, body string, fields ...string) (status int, said string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://app.example"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if c := m.Cookie(res); c != nil {
			cookie = c.Name + "=" + c.Value
		}
		if to := res.Header.Get("Location"); to != "" {
			return res.StatusCode, to
		}
		return res.StatusCode, string(b)
	}
	page := []string{"Sec-Fetch-Mode", "navigate", "X-User", "root"}
	for _, step := range []struct {
		name, method, path, body string
		fields                   []string
		status                   int
		said                     string
	}{
		{"a stranger is sent to the login", "GET", "/report?a=1&b=2", "", page, 303, "/login?next=%2Freport%3Fa%3D1%26b%3D2"},
		{"a stranger's program is refused", "GET", "/report", "", []string{"X-User", "root"}, 401, "Please log in.\n"},
		{"a stranger's form is refused", "POST", "/report", "x=1", page, 401, "Please log in.\n"},
		{"the question itself is nobody else's", "GET", "/_auth", "", nil, 404, ""},
		{"a login by another site", "POST", "/login", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"the login", "POST", "/login?next=%2Freport%3Fa%3D1%26b%3D2", "", []string{"Sec-Fetch-Site", "same-origin"}, 303, "/report?a=1&b=2"},
		{"the page that was asked for", "GET", "/report?a=1&b=2", "", page, 200, `GET /report?a=1&b=2 for ["alice"]: `},
		{"a form of the user", "POST", "/report", "x=1", page, 200, `POST /report for ["alice"]: x=1`},
	} {
		status, said := send(step.method, step.path, step.body, step.fields...)
		if status != step.status || step.said != "" && said != step.said {
			t.Errorf("%s: got %d %q, want %d %q", step.name, status, said, step.status, step.said)
		}
	}
	m.TakeRedisAway()
	if status, _ := send("GET", "/report", "", page...); status != 500 {
		t.Errorf("got %d while Redis is away, want nginx to make 500 of 503", status)
	}
	m.BringRedisBack()
	if status, said := send("GET", "/report", "", page...); status != 200 {
		t.Errorf("got %d %q once it is back, want the page", status, said)
	}
}
