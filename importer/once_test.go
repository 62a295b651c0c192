package importer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/importer"
)

const (
	statePrefix = "app:"
	stateKey    = "app:import:made"
	longLease   = time.Minute // no test lasts as long
)

// once is Once with a lease; it waits a thirtieth of it between two looks.
func once(ctx context.Context, s importer.Target, client redis.UniversalClient, lease time.Duration, o importer.Options) (importer.Report, error) {
	return importer.OnceInto(ctx, s, client, statePrefix, lease, made{n: 1000}, o)
}

func TestEightServersImportOnce(t *testing.T) {
	_, client := startRedis(t)
	s := newSink()
	var group sync.WaitGroup
	reports := make([]importer.Report, 8)
	for i := range reports {
		group.Go(func() {
			var err error
			if reports[i], err = once(t.Context(), s, client, 3*time.Second, importer.Options{}); err != nil {
				t.Errorf("got error %v, want none", err)
			}
		})
	}
	group.Wait()
	here := 0
	for _, r := range reports {
		if !r.Elsewhere {
			here++
		}
		if r.Imported != 1000 {
			t.Errorf("got a report of %d imported, want everybody to see 1000", r.Imported)
		}
	}
	if here != 1 || len(s.records) != 1000 {
		t.Errorf("got %d imports and %d sessions, want 1 and 1000", here, len(s.records))
	}
}

func TestLaterStartsImportNothing(t *testing.T) {
	_, client := startRedis(t)
	s := newSink()
	for range 3 {
		if _, err := once(t.Context(), s, client, longLease, importer.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	calls := s.calls
	state := client.HGetAll(t.Context(), stateKey).Val()
	if state["found"] != "1000" || state["imported"] != "1000" || state["done"] == "" || state["owner"] != "" {
		t.Errorf("got the state %v, want it done, with counts, without an owner", state)
	}
	if ttl := client.PTTL(t.Context(), stateKey).Val(); ttl != -1 {
		t.Errorf("got a TTL of %v, want none", ttl)
	}
	report, err := once(t.Context(), s, client, longLease, importer.Options{Force: true})
	if err != nil || report.Elsewhere || report.Imported != 1000 || s.doubled != 1000 {
		t.Errorf("forced: got %d imported, %d overwritten and error %v, want 1000 both", report.Imported, s.doubled, err)
	}
	t.Setenv("REDSESSION_REIMPORT", "true")
	report, err = once(t.Context(), s, client, longLease, importer.Options{})
	if err != nil || report.Existing != 1000 || s.doubled != 1000 || s.calls <= calls {
		t.Errorf("by the environment: got %d existing and error %v, want 1000", report.Existing, err)
	}
	t.Setenv("REDSESSION_REIMPORT", "yes please")
	if _, err = once(t.Context(), s, client, longLease, importer.Options{}); err == nil {
		t.Error("a value that is none: got no error, want one")
	}
}

// whenImporting starts an import that stops in the middle until release is closed,
// or its context ends.
func whenImporting(t *testing.T, ctx context.Context, s *sink, client redis.UniversalClient, lease time.Duration) (release chan struct{}, result chan error) {
	t.Helper()
	began, result, release := make(chan struct{}), make(chan error, 1), make(chan struct{})
	s.before = func(ctx context.Context, n int) error {
		if n == 3 {
			close(began)
			select {
			case <-release:
			case <-ctx.Done(): // of the import
				return ctx.Err()
			}
		}
		return nil
	}
	go func() {
		_, err := once(ctx, s, client, lease, importer.Options{Workers: 1})
		result <- err
	}()
	<-began
	return release, result
}

func TestASecondServerMayRefuseToWait(t *testing.T) {
	_, client := startRedis(t)
	first, second := newSink(), newSink()
	release, result := whenImporting(t, t.Context(), first, client, longLease)
	if _, err := once(t.Context(), second, client, longLease, importer.Options{NoWait: true}); !errors.Is(err, importer.ErrElsewhere) {
		t.Errorf("got %v, want %v", err, importer.ErrElsewhere)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := once(ctx, second, client, longLease, importer.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: got %v, want %v", err, context.DeadlineExceeded)
	}
	close(release)
	if err := <-result; err != nil || second.calls != 0 || len(first.records) != 1000 {
		t.Errorf("got error %v, %d calls by the second server and %d sessions, want none, none and 1000", err, second.calls, len(first.records))
	}
}

func TestAnImportThatIsStoppedIsTakenUpAtOnce(t *testing.T) {
	_, client := startRedis(t)
	s := newSink()
	ctx, stop := context.WithCancel(t.Context())
	_, result := whenImporting(t, ctx, s, client, longLease)
	stop()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	before := len(s.records)
	report, err := once(t.Context(), s, client, longLease, importer.Options{})
	if err != nil || report.Existing != before || report.Imported != 1000-before || s.doubled != 0 || before == 0 {
		t.Errorf("got %d existing, %d imported, %d doubled and error %v, want %d, %d, 0", report.Existing, report.Imported, s.doubled, err, before, 1000-before)
	}
}

// A server that dies leaves an owner who no longer reports.
func TestADeadServerIsReplaced(t *testing.T) {
	server, client := startRedis(t)
	s := newSink()
	client.HSet(t.Context(), stateKey, "owner", "somebody dead", "found", 500)
	client.PExpire(t.Context(), stateKey, 15*time.Second)
	if _, err := once(t.Context(), s, client, longLease, importer.Options{NoWait: true}); !errors.Is(err, importer.ErrElsewhere) {
		t.Errorf("before the lease is over: got %v, want %v", err, importer.ErrElsewhere)
	}
	server.FastForward(16 * time.Second)
	if report, err := once(t.Context(), s, client, longLease, importer.Options{NoWait: true}); err != nil || report.Imported != 1000 {
		t.Errorf("afterwards: got %d imported and error %v, want 1000", report.Imported, err)
	}
}

// A server that stood still for longer than its lease must not go on beside the
// one that has replaced it.
func TestAServerThatWasReplacedStops(t *testing.T) {
	_, client := startRedis(t)
	s := newSink()
	const shortLease = 300 * time.Millisecond
	_, result := whenImporting(t, t.Context(), s, client, shortLease)
	// Another is the owner, and finishes.
	client.HSet(t.Context(), stateKey, "owner", "another")
	client.HSet(t.Context(), stateKey, "done", "now", "report", `{"found":7}`)
	client.HDel(t.Context(), stateKey, "owner")
	client.Persist(t.Context(), stateKey)
	select {
	case err := <-result:
		if err != nil {
			t.Errorf("got error %v, want the other's report", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("got nothing, want the import to stop")
	}
}
