package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

// outcome is what a run of sessionctl left.
type outcome struct {
	code      int
	out, errs string
}

// ctl runs sessionctl against the Redis at url, as in a pipe.
func ctl(t *testing.T, url string, args ...string) outcome {
	t.Helper()
	return ctlContext(t, t.Context(), url, args...)
}

func ctlContext(t *testing.T, ctx context.Context, url string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(ctx, withURL(url, args), strings.NewReader(""), &out, &errs)
	return outcome{code, out.String(), errs.String()}
}

func withURL(url string, args []string) []string {
	if url == "" {
		return args
	}
	// A loaded machine under -race must not fail a test by the timeout.
	return append([]string{"--url", url, "--timeout", "30s"}, args...)
}

// terminal is a stream that is as wide as a terminal. Writes may come from
// several goroutines.
type terminal struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	in    io.Reader
	width int
	wrote func(all string) // called after each write; may be nil
}

func (x *terminal) Width() int { return x.width }

func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.buf.Write(p)
	if x.wrote != nil {
		x.wrote(x.buf.String())
	}
	return len(p), nil
}

func (x *terminal) Read(p []byte) (int, error) { return x.in.Read(p) }

func (x *terminal) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.String()
}

// ctlTerminal runs sessionctl on a terminal on which somebody types input.
func ctlTerminal(t *testing.T, width int, input, url string, args ...string) outcome {
	t.Helper()
	out, errs := &terminal{width: width}, &terminal{width: width}
	in := &terminal{width: width, in: strings.NewReader(input)}
	code := run(t.Context(), withURL(url, args), in, out, errs)
	return outcome{code, out.String(), errs.String()}
}

// wants fails the test unless the run ended with code, and printed text.
func (o outcome) wants(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("got exit code %d, want %d; it printed %q and %q", o.code, code, o.out, o.errs)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.errs, text) {
			t.Errorf("got %q and %q, want in them %q", o.out, o.errs, text)
		}
	}
}

// login makes a session of user as a browser and a web server do, and returns
// its id and its cookie.
func login(t *testing.T, url, user string, change ...func(*redsession.Config)) (id, cookie string) {
	t.Helper()
	cfg := redsession.Config{
		URL: url, Secrets: [][]byte{secret}, RedisTimeout: 30 * time.Second,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	m, err := redsession.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cart := redsession.Key[string]("cart")
	srv := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		cart.Set(s, hiddenValue)
		if user != "" {
			s.Login(user)
		}
		if err := s.Save(r.Context()); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, s.ID())
	})))
	defer srv.Close()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
	req.Header.Set("User-Agent", "Test\u009b31mBrowser/1.0")
	res, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || len(res.Cookies()) == 0 {
		t.Fatalf("got cookies %v and error %v, want a cookie", res.Cookies(), err)
	}
	return string(body), res.Cookies()[0].Value
}

// hiddenValue lies in every session of login, and must never be printed.
const hiddenValue = "a-value-that-nobody-may-see"

// fill stores n anonymous sessions.
func fill(t *testing.T, client redis.UniversalClient, n int) {
	t.Helper()
	ring := ringOf(t)
	now := time.Now()
	pipe := client.Pipeline()
	for i := range n {
		key := "session:" + numberedID(i)
		r := &record.Record{Created: now.Unix(), Deadline: now.Add(24 * time.Hour).Unix(), Idle: 3600}
		r.SetFields([]record.Field{{Name: "n", Raw: fmt.Sprint(i)}})
		raw, err := r.Encode(ring, key, false)
		if err != nil {
			t.Fatal(err)
		}
		pipe.SetEx(t.Context(), key, raw, time.Hour)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func ringOf(t *testing.T) record.Ring {
	t.Helper()
	ring, err := record.NewRing([][]byte{secret})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// numberedID is an id that no hash would give, but of the right form.
func numberedID(i int) string { return fmt.Sprintf("%032d", i) }

func base64Secret() string { return base64.StdEncoding.EncodeToString(secret) }

// eachFlavour runs test on a Redis of every kind.
func eachFlavour(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	kinds := []struct {
		name  string
		start func(t *testing.T) string
	}{
		{"plain server", func(t *testing.T) string { return redistest.Start(t).URL }},
		{"TLS", func(t *testing.T) string { s := redistest.StartTLS(t); return withCA(s) }},
		{"unix socket", func(t *testing.T) string { return redistest.StartUnix(t).URL }},
		{"user with password", func(t *testing.T) string { return redistest.StartACL(t, "ops", "pa/ss:w@rd").URL }},
		{"cluster", func(t *testing.T) string { return redistest.StartCluster(t).URL }},
		{"sentinel", func(t *testing.T) string { return redistest.StartSentinel(t).URL }},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k.start(t)) })
	}
}

func withCA(s *redistest.TLSServer) string { return s.URL + "?ca=" + s.CAFile }

// shownWidth is how many columns of a terminal line takes.
func shownWidth(line string) int { return text.StringWidthWithoutEscSequences(line) }
