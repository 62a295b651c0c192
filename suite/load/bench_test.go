package load_test

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// BenchmarkReadHit is a logged-in user's request that changes nothing, beside
// what go-redis alone needs for its two commands.
func BenchmarkReadHit(b *testing.B) {
	srv := redistest.Start(b)
	end := func(redsession.OperationEnd) {}
	traces := map[string]redsession.Trace{
		"redsession": nil,
		"redsession, traced": func(ctx context.Context, _ redsession.Operation) (context.Context, func(redsession.OperationEnd)) {
			return ctx, end
		},
	}
	for _, of := range slices.Sorted(maps.Keys(traces)) {
		b.Run(of, func(b *testing.B) {
			m, err := redsession.New(redsession.Config{
				URL: srv.URL, Secrets: [][]byte{stage.Secret}, Logger: slog.New(slog.DiscardHandler),
				Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Trace: traces[of],
			})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			login := httptest.NewRecorder()
			m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				s := redsession.FromContext(r.Context())
				stage.Fill(s)
				s.Login("ada")
			})).ServeHTTP(login, httptest.NewRequest("GET", "/", nil))
			cookie := login.Result().Header.Get("Set-Cookie")
			const userID, name = redsession.Key[int]("user_id"), redsession.Key[string]("name")
			benchRequests(b, cookie, m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := redsession.FromContext(r.Context())
				id, _ := userID.Get(s)
				if n, ok := name.Get(s); !ok || id != 4711 || !s.LoggedIn() {
					b.Errorf("got %q %d, want the session", n, id)
				}
				w.WriteHeader(http.StatusNoContent)
			})))
		})
	}
	b.Run("bare handler", func(b *testing.B) {
		benchRequests(b, "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	})
	b.Run("go-redis GET and EXPIRE", func(b *testing.B) {
		client := srv.Client()
		ctx := context.Background()
		client.Set(ctx, "floor", make([]byte, 480), 0)
		pipelined := func() {
			_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.Get(ctx, "floor")
				p.Expire(ctx, "floor", time.Hour)
				return nil
			})
			if err != nil {
				b.Error(err)
			}
		}
		b.Run("alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pipelined()
			}
		})
		b.Run("64 at once", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					pipelined()
				}
			})
		})
	})
}

// benchRequests serves one request again and again, as no handler changes it: what
// is left of httptest is the recorder.
func benchRequests(b *testing.B, cookie string, h http.Handler) {
	request := func() *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		return r
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		r := request()
		for b.Loop() {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64 / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			r := request()
			for pb.Next() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	})
}

// BenchmarkWriteHit is a request that changes one of the ten values, each
// caller's in a session of its own.
func BenchmarkWriteHit(b *testing.B) {
	srv := redistest.Start(b)
	m, err := redsession.New(redsession.Config{
		URL: srv.URL, Secrets: [][]byte{stage.Secret}, Logger: slog.New(slog.DiscardHandler),
		Cookie: redsession.Cookie{InsecurePlainHTTP: true},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := redsession.FromContext(r.Context())
		if r.URL.Path == "/login" {
			stage.Fill(s)
			s.Login("ada")
		}
		redsession.Key[string]("last_page").Set(s, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	}))
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		login := httptest.NewRecorder()
		h.ServeHTTP(login, httptest.NewRequest("GET", "/login", nil))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", login.Result().Header.Get("Set-Cookie"))
		for pb.Next() {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != http.StatusNoContent {
				b.Errorf("got %d %s", w.Code, w.Body)
			}
		}
	})
}
