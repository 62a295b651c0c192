package attack_test

import (
	"fmt"
	"maps"

	"github.com/anishathalye/porcupine"
)

// The sequential model: what every id leads to. A request is two steps, as it does not happen at once: its load, and its
// commit. Porcupine looks for an order of all steps, each between its beginning and its end, that explains every answer.

// event is one step of a request, or what an administrator did.
type event struct {
	what   string // load, commit, end, spare, mark, doubt, storm
	kind   string // of the request
	cookie string // the id that came
	served string // the id that the handler saw
	login  string // what end ends
	user   string // that logs in, or who was revoked, or whose login end is to end; "" for any
	tag    string
	loaded span // when it was, by the servers' clock
	left   span // when the handler ran; of a mark, when it was made
	now    int64
	round  int
	storm  bool // there was one
	beside int  // logins under way at the same time: they may be in the index already, though they take effect later
}

// entering tells whether e is a commit that may enter a login in the index.
func (e event) entering() bool {
	return e.what == "commit" && (e.kind == "login" || e.kind == "promote")
}

// outcomeOf is what could be seen of a step; nil for an unknown outcome.
type outcomeOf struct {
	status  int
	view    string
	issued  string // the id of the cookie that was set
	evicted int    // logins beyond MaxPerUser
}

var sessions = porcupine.Model{
	Init: func() any { return newWorld(map[string]node{}, map[string]span{}, false) },
	Step: func(state, input, output any) (bool, any) {
		w, e := state.(*world), input.(event)
		out, _ := output.(*outcomeOf)
		var next *world
		switch e.what {
		case "load":
			next = w.load(e, out)
		case "commit":
			next = w.commit(e, out)
		case "end":
			next = w.end(e)
		case "spare":
			if next = w; w.surely(e.cookie, e.now) {
				next = nil
			}
		case "mark":
			next = w.marked(e.user, e.left)
		case "doubt":
			next = w.doubted(e)
		case "storm":
			next = w.stormed(e.now)
		}
		return next != nil, next
	},
	Equal: func(a, b any) bool { return a.(*world).text == b.(*world).text },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v %+v", input, output)
	},
}

// load returns what becomes of w when a request with e.cookie sees out, nil if it could not have.
func (w *world) load(e event, out *outcomeOf) *world {
	at, hits, mayMiss, mustMiss := e.cookie, map[string]node{}, false, false
	var n node
	for hop := 0; ; hop++ {
		var there bool
		if n, there = w.nodes[at]; !there || n.ended || n.mustBeOver(e.now) {
			mustMiss = true
			break
		}
		mayMiss = mayMiss || n.doubtful || n.mayBeOver(e.now)
		if hop > 0 {
			mayMiss = mayMiss || n.seenMin != 0 && e.now-n.seenMin > grace
			mustMiss = mustMiss || n.seenMax != 0 && e.now-n.seenMax > grace
		}
		if n.hitMax = e.now; hop == 0 || n.next == "" {
			n.hitMin = e.now // what a request only passes through may not be prolonged
		}
		hits[at] = n
		if n.next == "" {
			break
		}
		at = n.next
	}
	if missed := e.served == ""; missed {
		if out.view != "" || !mayMiss && !mustMiss {
			return nil
		}
		if n.doubtful {
			n.ended, n.doubtful = true, false
			return w.with(map[string]node{at: n})
		}
		if old, ok := w.nodes[e.cookie]; ok && old.mayBeOver(e.now) && !w.storm {
			old.ended = true // it cannot come back
			return w.with(map[string]node{e.cookie: old})
		}
		return w
	}
	seen, fits := n.seenAs(out.view)
	if mustMiss || !fits {
		return nil
	}
	if n, there := hits[at]; there {
		seen.hitMin, seen.hitMax = n.hitMin, n.hitMax
		hits[at] = seen
	}
	if _, known := w.nodes[e.served]; at != e.served && !known && w.storm {
		hits[e.served] = seen.rotated() // by a request whose answer was lost
		seen.next = e.served
		hits[at] = seen
	} else if at != e.served {
		return nil
	}
	return w.with(hits)
}

// rotated is the successor of n.
func (n node) rotated() node {
	n.issued, n.seenMin, n.seenMax = true, 0, 0
	return n
}

// commit returns what becomes of w when the request that saw e.served is answered by out, nil if it could not have been.
func (w *world) commit(e event, out *outcomeOf) *world {
	w = w.found(e)
	at, n, live := w.resolve(e.served, e.now)
	changed := map[string]node{}
	unknown := out == nil
	switch {
	case !unknown && out.status == 409:
		if out.issued != "" || !w.gone(e, n, live) {
			return nil
		}
		return w
	case e.kind == "logout":
		if live {
			n.ended = true
			return w.with(map[string]node{at: n})
		}
		return w
	case e.kind == "login" || e.kind == "half" || e.kind == "promote" && n.half:
		return w.loggedIn(e, out, at, n, live)
	case e.served == "":
		return w.created(e, out)
	case !live && (unknown || e.kind == "read"):
		return w
	case !live && e.kind == "rotate" && e.served != e.cookie: // an id that the client has not shown yet stays
		return w
	case !live:
		return nil // acknowledged, though there was nothing to keep it
	}
	if !unknown && at == e.cookie && n.issued {
		if n.seenMin == 0 {
			n.seenMin = e.now
		}
		if n.seenMax == 0 && !e.storm { // in a storm that may not be kept
			n.seenMax = e.now
		}
	}
	n = n.changed(e)
	followed := !unknown && out.issued == e.served && e.served != e.cookie // though it has been rotated once more since
	if !unknown && out.issued != "" && out.issued != at && !followed {
		if _, known := w.nodes[out.issued]; known {
			return nil
		}
		changed[out.issued] = n.rotated()
		n.next, n.deadline = out.issued, min(n.deadline, e.now+leading)
	}
	changed[at] = n
	return w.with(changed)
}

// gone tells whether the request that saw e.served may be told that its session has ended, where n is, or was.
func (w *world) gone(e event, n node, live bool) bool {
	_, came := w.nodes[e.cookie]
	ended := came && (!live || n.doubtful || n.mayBeOver(e.now))
	switch e.kind {
	case "read", "logout", "half":
		return false
	case "login": // stands, whatever became of the session that it began from
		return w.mayRefuse(e.user, e.loaded)
	case "promote":
		return ended || w.mayRefuse(n.user, n.checked)
	}
	return ended
}

// found adds an id that a rotation with an unknown answer made, and that only now shows.
func (w *world) found(e event) *world {
	if _, known := w.nodes[e.served]; known || e.served == "" || !w.storm {
		return w
	}
	at, n, live := w.resolve(e.cookie, e.now)
	if !live {
		return w
	}
	next := n.rotated()
	n.next = e.served
	return w.with(map[string]node{at: n, e.served: next})
}

// changed returns n with the values that the request wrote.
func (n node) changed(e event) node {
	if n.other != nil {
		other := node{k: n.other.k, log: n.other.log}.changed(e)
		n.other = &values{other.k, other.log}
	}
	switch e.kind {
	case "set":
		n.k = e.tag
	case "add":
		n.log += e.tag
	case "delete":
		n.k = ""
	case "clear":
		n.k, n.log = "", ""
	}
	return n
}

// created is for a request without a session.
func (w *world) created(e event, out *outcomeOf) *world {
	n := node{hitMin: e.now, hitMax: e.now, idle: anonymousIdle, deadline: e.now + absolute, born: e.round}.changed(e)
	switch nothing := n.view() == ""; {
	case out == nil, nothing && out.issued == "":
		return w
	case nothing || out.issued == "" || w.nodes[out.issued].login != "":
		return nil
	}
	n.login = out.issued
	return w.with(map[string]node{out.issued: n})
}

// loggedIn is for a login and for the second factor: old, at the id at, makes way for another.
func (w *world) loggedIn(e event, out *outcomeOf, at string, old node, live bool) *world {
	changed := map[string]node{}
	user := e.user
	if e.kind == "promote" {
		user = old.user
	}
	wasLive := live
	n := node{
		user: user, half: e.kind == "half", born: e.round,
		hitMin: e.now, hitMax: e.now, idle: idle, deadline: e.now + absolute,
	}
	checked := e.loaded
	if e.kind == "promote" {
		checked = old.checked
	}
	if n.half {
		n.idle, n.deadline, n.checked = halfOpen, e.now+halfOpen, e.loaded
	}
	keep := old.user == "" || old.user == user
	if live && keep {
		n.k, n.log, n.other = old.k, old.log, old.other
	} else if h, there := w.heir(e); there && !live && e.kind != "promote" && (e.served == "" || keep) {
		if n.k, n.log = h.values.k, h.values.log; !h.sure {
			n.other = &values{}
		}
		if h.live != "" {
			at, old, live, keep = h.live, w.nodes[h.live], true, true
			old.doubtful = !h.sure
		}
	}
	if live {
		if old.ended = !old.doubtful; keep {
			old.endedAt, old.lost = e.now, out == nil
			if out != nil {
				old.by = out.issued
			}
		}
		changed[at] = old
	}
	if out == nil {
		return w.with(changed)
	}
	switch {
	case out.issued == "" || w.nodes[out.issued].login != "":
		return nil
	case e.kind == "promote" && !wasLive: // what proved the first factor is gone
		return nil
	case !n.half && w.mustRefuse(user, checked):
		return nil
	}
	n.login = out.issued
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

// end ends everything that has come of a login.
func (w *world) end(e event) *world {
	changed := map[string]node{}
	for id, n := range w.nodes {
		if n.login == e.login && (e.user == "" || n.user == e.user) {
			n.ended = true
			changed[id] = n
		}
	}
	return w.with(changed)
}

// doubted is w after a storm in which e.user logged in, e.beside times with an unknown outcome: what is beyond MaxPerUser may
// have been ended without anybody being told.
func (w *world) doubted(e event) *world {
	if w.logins(e.user, e.now)+e.beside <= limit {
		return w
	}
	changed := map[string]node{}
	for id, n := range w.nodes {
		if n.user == e.user && !n.half && !n.ended && n.next == "" {
			n.doubtful = true
			changed[id] = n
		}
	}
	return w.with(changed)
}

// stormed is what requests that nobody tells of may have done while servers were cut off.
func (w *world) stormed(now int64) *world {
	nodes := maps.Clone(w.nodes)
	for id, n := range nodes {
		if n.hitMax = now; n.issued && n.seenMin == 0 {
			n.seenMin = now
		}
		nodes[id] = n
	}
	return newWorld(nodes, w.marks, true)
}
