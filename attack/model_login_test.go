package attack_test

// loggedIn is for a login and for the second factor: old, at the id at, makes way for another.
func (w *world) loggedIn(e event, out *outcomeOf, at string, old node, live bool) (next []*world) {
	if live && old.doubtful {
		over, alive := old, old.known()
		over.ended, over.doubtful = true, false
		next = w.with(map[string]node{at: over}).loggedIn(e, out, at, over, false)
		return append(next, w.with(map[string]node{at: alive}).loggedIn(e, out, at, alive, true)...)
	}
	user := e.user
	if e.kind == "promote" {
		user = old.user
	}
	from := []heritage{{}}
	switch keep := old.user == "" || old.user == user; {
	case live && keep:
		from[0] = heritage{values: values{old.k, old.log}, live: at}
	case live:
		n := old
		n.ended = true
		w = w.with(map[string]node{at: n})
	case e.kind == "promote" && out != nil: // what proved the first factor is gone
		return nil
	case e.kind != "promote" && (e.served == "" || keep):
		from = w.heirs(e)
	}
	for _, h := range from {
		next = append(next, w.entered(e, out, user, old.checked, h))
	}
	return next
}

// entered is w once a login of user's goes on from h.
func (w *world) entered(e event, out *outcomeOf, user string, checked span, h heritage) *world {
	changed := map[string]node{}
	if old := w.nodes[h.live]; h.live != "" {
		old.ended, old.doubtful, old.endedAt, old.lost = true, false, e.now, out == nil
		if out != nil {
			old.by = out.issued
		}
		changed[h.live] = old
	}
	if out == nil {
		return w.with(changed)
	}
	n := node{
		user: user, half: e.kind == "half", born: e.round, login: out.issued, k: h.values.k, log: h.values.log,
		hitMin: e.now, hitMax: e.now, idle: idle, deadline: e.now + absolute,
	}
	if e.kind != "promote" {
		checked = e.loaded
	}
	switch {
	case out.issued == "" || w.nodes[out.issued].login != "":
		return nil
	case n.half:
		n.idle, n.deadline, n.checked = halfOpen, e.now+halfOpen, e.loaded
	case w.mustRefuse(user, checked):
		return nil
	}
	changed[out.issued] = n
	next := w.with(changed)
	over := next.logins(user, e.now) + e.beside - limit
	if n.half {
		over = 0
	}
	if out.evicted > max(over, 0) && !w.storm {
		return nil
	}
	return next
}

// logins counts what may count towards MaxPerUser.
func (w *world) logins(user string, now int64) (count int) {
	for _, n := range w.nodes {
		if n.user == user && !n.half && !n.ended && n.next == "" && !n.mustBeOver(now) {
			count++
		}
	}
	return count
}

type values struct{ k, log string }

// heritage is what a login goes on from, the zero value is nothing.
type heritage struct {
	values values
	live   string // the session that it ends, "" if that is gone or not known
}

// heirs returns what a login by e may go on from whose own session has ended: the login that took its place, since that is
// the same browser, whose answer was lost.
func (w *world) heirs(e event) []heritage {
	nothing := []heritage{{}}
	at, sure := e.served, !w.storm
	if at == "" {
		at = e.cookie
	}
	for hop := 0; w.nodes[at].next != ""; hop++ {
		n := w.nodes[at]
		if hop > 0 && n.seenMin != 0 && e.now-n.seenMin > grace {
			sure = false // perhaps it was a replay
		}
		at = n.next
	}
	if n := w.nodes[at]; !n.ended || e.served == "" && e.now-n.endedAt >= grace {
		return nothing
	}
	for n := w.nodes[at]; n.ended && n.by != ""; n = w.nodes[at] {
		at = n.by
	}
	n, there := w.nodes[at]
	h := heritage{values: values{n.k, n.log}, live: at}
	switch {
	case !there:
		return nothing
	case n.ended && n.lost: // and that may have ended since
		return append(nothing, heritage{values: h.values})
	case n.ended || n.next != "" || n.user != e.user || n.half != (e.kind == "half") || n.mustBeOver(e.now):
		return nothing
	}
	if !sure || n.doubtful || n.mayBeOver(e.now) {
		return append(nothing, h)
	}
	return []heritage{h}
}
