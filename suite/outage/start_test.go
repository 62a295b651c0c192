package outage_test

import (
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// A program that is started while Redis is away works as any other once Redis is there,
// and costs it as little.
func TestOutageAtTheStartHealsByItself(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	p := redistest.NewProxy(t, e.Mini.Addr())
	p.Refuse(true)
	m := e.Manager(t, patient, func(c *redsession.Config) { c.URL = p.URL })
	st := stage.NewScripted(t, m)
	p.Refuse(false)
	st.Must("login:alice")
	stage.Until(t, "a login in one round trip", func() bool {
		p.Reset()
		st.Fork("").Must("login:bob")
		return stage.Sent(p) == "EVALSHA in 1"
	})
}
