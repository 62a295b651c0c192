package redistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/redistest"
)

func TestClusterReplacesAKilledPrimary(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	if want := "redis+cluster://" + strings.Join(c.Addrs[:3], ","); c.URL != want {
		t.Errorf("URL: got %q, want %q", c.URL, want)
	}
	old := c.PrimaryOf("key")
	set(t, old.Client(), "key", "value")
	if got := c.PrimaryOf("{key}other"); got != old {
		t.Errorf("a key of the same slot is on %s, want %s", got.Addr, old.Addr)
	}
	awaitReplication(t, old)

	old.Kill()
	eventually(t, "a failover", func() bool { return c.PrimaryOf("key") != old })
	eventually(t, "the value on the new primary", func() bool {
		return c.PrimaryOf("key").Client().Get(t.Context(), "key").Val() == "value"
	})
	old.Restart()
	client := old.Client()
	eventually(t, "the old primary to become a replica", func() bool {
		return client.InfoMap(t.Context(), "replication").Item("Replication", "role") == "slave"
	})
}

func TestSentinelReplacesAKilledPrimary(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	if want := "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + redistest.MasterName + "/0"; s.URL != want {
		t.Errorf("URL: got %q, want %q", s.URL, want)
	}
	old, heir := s.Primary(), s.Replica()
	if old == heir {
		t.Fatal("the primary is its own replica")
	}
	set(t, old.Client(), "key", "value")
	awaitReplication(t, old)

	old.Kill()
	eventually(t, "a failover", func() bool { return s.Primary() == heir && s.Replica() == old })
	if got := heir.Client().Get(t.Context(), "key").Val(); got != "value" {
		t.Errorf("on the new primary: got %q, want value", got)
	}
}

// awaitReplication returns when the one replica has everything.
func awaitReplication(t *testing.T, s *redistest.Server) {
	t.Helper()
	if n, err := s.Client().Wait(t.Context(), 1, 10*time.Second).Result(); n != 1 || err != nil {
		t.Fatalf("WAIT: got %d replicas, %v, want 1", n, err)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
