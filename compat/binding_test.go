package compat_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

// TestFrameworksLetBrowsersBindSessions has a browser register its key and prove that it has it,
// at paths that are no routes of the framework's.
func TestFrameworksLetBrowsersBindSessions(t *testing.T) {
	t.Parallel()
	for _, row := range frameworks {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := redsessiontest.New(t, func(c *redsession.Config) {
				c.Cookie = redsession.Cookie{}
				c.DeviceBinding.Enabled = true
			})
			h := row.mount(t, m.Manager, program(m.Manager))
			b := m.Browser()
			b.Do(h, httptest.NewRequest(http.MethodPost, "https://example.com/login", nil))
			b.Get(h, "/get")
			for range 3 {
				m.Advance(11 * time.Minute)
				b.Get(h, "/get")
			}
			if st := m.Stats(); st.Bound != 1 || st.Proofs != 3 || st.Locked != 0 {
				t.Errorf("got %d bound, %d proofs and %d locked requests, want 1, 3 and none", st.Bound, st.Proofs, st.Locked)
			}
		})
	}
}
