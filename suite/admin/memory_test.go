package admin_test

import (
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestAdminListKeepsNoRecord holds the memory that a list of large sessions keeps against
// that of their records. It is not parallel, as it looks at the whole heap.
func TestAdminListKeepsNoRecord(t *testing.T) {
	const sessions, size = 200, 60_000
	e := stage.NewMini(t)
	m := e.Manager(t)
	srv := stage.Serve(t, m, stage.Handlers{"/": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Login("alice")
		redsession.Key[string]("large").Set(s, strings.Repeat("x", size))
	}})
	for range sessions {
		stage.NewBrowser(t, srv).Get("/")
	}
	heap := func() uint64 {
		runtime.GC()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	for name, list := range map[string]func() ([]redsession.Info, error){
		"Sessions": func() ([]redsession.Info, error) { return m.Sessions(t.Context(), "alice") },
		"All": func() (list []redsession.Info, err error) {
			for i, one := range m.All(t.Context()) {
				if one != nil {
					return nil, one
				}
				list = append(list, i)
			}
			return list, nil
		},
	} {
		before := heap()
		infos, err := list()
		kept := int64(heap()) - int64(before)
		if err != nil || len(infos) != sessions || kept > sessions*size/4 {
			t.Errorf("%s: got %d sessions, %v, that keep %d bytes, want a fraction of %d", name, len(infos), err, kept, sessions*size)
		}
		runtime.KeepAlive(infos)
	}
}
