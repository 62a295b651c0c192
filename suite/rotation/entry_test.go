package rotation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/stage"
)

// Where parts of a plan are round trips apart, the entry of a rotated session in its user's index may fail while the
// session's own key does not. It is made before anything says that it need not be any more, and keeps nobody from working.
func TestRotationWhoseEntryFailsIsListedAllTheSame(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for _, row := range []struct {
			name, refusal string
			meanwhile     []string // requests
		}{
			{"the node is full, its client reads", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", []string{"", ""}},
			{"the node is full, its client writes", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", []string{"set:b:1", "set:b:2 add:n", ""}},
			{"the node forbids it, its client writes", "-NOPERM this user has no permissions\r\n", []string{"set:b:1", ""}},
			{"the client does both", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", []string{"", "set:b:1", ""}},
		} {
			t.Run(row.name, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				m, p := e.BehindBy(t, e.ApartManager)
				st := stage.NewScripted(t, m)
				st.Must("login:alice set:a:1")
				old := st.Must().Header.Get("X-Id")
				refused := make(chan struct{}, 100)
				p.Reply(func(args []string) (string, bool) {
					move := len(args) > 4 && args[4] == "move"
					if move {
						refused <- struct{}{}
					}
					return row.refusal, move
				})
				e.Advance(t, 3*time.Hour)
				st.Must() // is answered under another id
				<-refused // in the background
				id := ""
				for _, ops := range row.meanwhile {
					id = st.Must(ops).Header.Get("X-Id")
					<-refused
				}
				entries := func() []string { return e.Client.ZRange(t.Context(), e.Index(t), 0, -1).Val() }
				if got := entries(); id == old || !slices.Equal(got, []string{old}) {
					t.Fatalf("got the entries %v, want that of the id before %s alone", got, id)
				}
				p.Reply(nil)
				before := e.Client.Get(t.Context(), "session:"+id).Val()
				st.Must()
				if got := entries(); !slices.Contains(got, id) {
					t.Errorf("got the entries %v, want %s", got, id)
				}
				if e.Client.Get(t.Context(), "session:"+id).Val() == before {
					t.Error("got the record as it was, want noted that its id was seen")
				}
			})
		}
	})
}
