package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
	"time"
)

// result is what the clients saw.
type result struct {
	byServer  map[string]int // answers
	failed    int            // answers other than 200, and none at all
	counted   int            // visits that were answered with 200
	kept      int            // visits that the sessions hold in the end
	users     int
	wandering int // users whose session each server has served
}

func (r result) print(w io.Writer) {
	for number := range servers {
		name := fmt.Sprint(number + 1)
		fmt.Fprintf(w, "  server %s answered %d requests\n", name, r.byServer[name])
	}
	fmt.Fprintf(w, "  requests that failed: %d\n", r.failed)
	fmt.Fprintf(w, "  visits: the clients counted %d, their sessions hold %d\n", r.counted, r.kept)
	fmt.Fprintf(w, "  users served by all %d servers in one session: %d of %d\n", servers, r.wandering, r.users)
}

// load has n users log in and visit h, for d.
func load(ctx context.Context, h http.Handler, n int, d time.Duration) (result, error) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	// As many connections as users, or most requests would open one.
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	defer transport.CloseIdleConnections()
	end := time.Now().Add(d)
	total := result{byServer: make(map[string]int), users: n}
	var mu sync.Mutex // guards total and errs
	var errs []error
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			u, err := newUser(ctx, transport, srv.URL, fmt.Sprintf("user-%d", i+1))
			for err == nil && ctx.Err() == nil && time.Now().Before(end) {
				err = u.visit(ctx)
			}
			if err == nil {
				err = u.look()
			}
			mu.Lock()
			defer mu.Unlock()
			if u != nil {
				total.add(u)
			}
			errs = append(errs, err)
		})
	}
	all.Wait()
	return total, errors.Join(errs...)
}

func (r *result) add(u *user) {
	for number, n := range u.byServer {
		r.byServer[number] += n
	}
	r.failed += u.failed
	r.counted += u.counted
	r.kept += u.kept
	if len(u.byServer) == servers {
		r.wandering++
	}
}

// user is a client with a session.
type user struct {
	http     *http.Client
	base     string
	name     string
	byServer map[string]int
	failed   int
	counted  int
	kept     int
}

func newUser(ctx context.Context, transport http.RoundTripper, base, name string) (*user, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	u := &user{
		http: &http.Client{Jar: jar, Transport: transport}, base: base, name: name,
		byServer: make(map[string]int),
	}
	_, err = u.send(ctx, http.MethodPost, "/login/"+name)
	return u, err
}

func (u *user) visit(ctx context.Context) error {
	ok, err := u.send(ctx, http.MethodPost, "/visit")
	if ok {
		u.counted++
	}
	return err
}

// look reads how many visits the session holds.
func (u *user) look() error {
	_, err := u.send(context.Background(), http.MethodGet, "/")
	return err
}

// send tells whether the answer was 200. It returns an error if that was another
// user's.
func (u *user) send(ctx context.Context, method, path string) (bool, error) {
	// A request once begun is waited for, so that the counts come out even.
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, u.base+path, nil)
	if err != nil {
		return false, err
	}
	res, err := u.http.Do(r)
	if err != nil {
		u.failed++
		return false, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		u.failed++
		return false, nil
	}
	number := res.Header.Get("X-Server")
	u.byServer[number]++
	var who string
	if _, err := fmt.Sscanf(string(body), "server "+number+": visit %d of %q\n", &u.kept, &who); err != nil || who != u.name {
		return false, fmt.Errorf("%s is answered as %q: %w", u.name, who, err)
	}
	return true, nil
}
