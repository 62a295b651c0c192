package attack_test

import (
	"hash/maphash"
	"maps"
	"slices"

	"github.com/anishathalye/porcupine"
)

// The sequential model: what every id leads to. A request is two steps, as it does not happen at once: its load, and its
// commit. Porcupine looks for an order of all steps, each between its beginning and its end, that explains every answer.

// event is one step of a request, or what an administrator did.
type event struct {
	what   string   // load, commit, end, spare, mark, doubt, storm
	kind   string   // of the request
	cookie string   // the id that came
	served string   // the id that the handler saw
	logins []string // what end ends
	user   string   // that logs in, or whose sessions were revoked
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

// sessions is nondeterministic: where nobody is told which of two things happened, both go on.
var sessions = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{newWorld(map[string]node{}, map[string]span{}, false)} },
	Step: func(state, input, output any) (next []any) {
		out, _ := output.(*outcomeOf)
		for _, w := range state.(*world).step(input.(event), out) {
			if w != nil {
				next = append(next, w)
			}
		}
		return next
	},
	Equal:             func(a, b any) bool { return a.(*world).text == b.(*world).text },
	Hash:              func(state any) uint64 { return maphash.String(seed, state.(*world).text) },
	DescribeOperation: describeStep,
}).ToModel()

var seed = maphash.MakeSeed()

// step returns what may become of w by e; nil is for what cannot.
func (w *world) step(e event, out *outcomeOf) []*world {
	switch e.what {
	case "load":
		return []*world{w.load(e, out)}
	case "commit":
		return w.commit(e, out)
	case "end":
		return []*world{w.end(e)}
	case "spare":
		if w.surely(e.cookie, e.now) {
			return nil
		}
	case "mark":
		return []*world{w.marked(e.user, e.left)}
	case "doubt":
		return []*world{w.doubted(e)}
	case "storm":
		return []*world{w.stormed(e.now)}
	}
	return []*world{w}
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
	if e.served == "" {
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
	if mustMiss || n.view() != out.view {
		return nil
	}
	n = n.known()
	hits[at] = n
	if _, known := w.nodes[e.served]; at != e.served && !known && w.storm {
		hits[e.served] = n.rotated() // by a request whose answer was lost
		n.next = e.served
		hits[at] = n
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

// commit returns what may become of w when the request that saw e.served is answered by out.
func (w *world) commit(e event, out *outcomeOf) []*world {
	w = w.found(e)
	at, n, live := w.resolve(e.served, e.now)
	unknown := out == nil
	switch {
	case !unknown && out.status == 409:
		return w.refused(e, out, at, n, live)
	case e.kind == "logout":
		if live {
			n.ended = true
			return []*world{w.with(map[string]node{at: n})}
		}
		return []*world{w}
	case e.kind == "login" || e.kind == "half" || e.kind == "promote" && n.half:
		return w.loggedIn(e, out, at, n, live)
	case e.served == "":
		return []*world{w.created(e, out)}
	case !live && (unknown || e.kind == "read"):
		return []*world{w}
	case !live && e.kind == "rotate" && e.served != e.cookie: // an id that the client has not shown yet stays
		return []*world{w}
	case !live:
		return nil // acknowledged, though there was nothing to keep it
	}
	return []*world{w.changed(e, out, at, n)}
}

// refused is for a request that is told that its session, n at the id at, has ended.
func (w *world) refused(e event, out *outcomeOf, at string, n node, live bool) []*world {
	if out.issued != "" || !w.gone(e, n, live) {
		return nil
	}
	if e.kind == "login" && e.storm && live && n.user != "" && n.user != e.user {
		// A login over another user's session ends that, and begins again if the reply is lost; the second time it was
		// refused.
		n.ended = true
		return []*world{w, w.with(map[string]node{at: n})}
	}
	return []*world{w}
}

// changed is for a request that goes on with its session, n at the id at, and may have rotated it.
func (w *world) changed(e event, out *outcomeOf, at string, n node) *world {
	changed := map[string]node{}
	if out == nil {
		changed[at] = n.written(e)
		return w.with(changed)
	}
	if at == e.cookie && n.issued {
		if n.seenMin == 0 {
			n.seenMin = e.now
		}
		if n.seenMax == 0 && !e.storm { // in a storm that may not be kept
			n.seenMax = e.now
		}
	}
	n = n.written(e)
	followed := out.issued == e.served && e.served != e.cookie // though it has been rotated once more since
	if out.issued != "" && out.issued != at && !followed {
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

// written returns n with the values that the request wrote.
func (n node) written(e event) node {
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
	n := node{hitMin: e.now, hitMax: e.now, idle: anonymousIdle, deadline: e.now + absolute, born: e.round}.written(e)
	switch nothing := n.view() == ""; {
	case out == nil, nothing && out.issued == "":
		return w
	case nothing || out.issued == "" || w.nodes[out.issued].login != "":
		return nil
	}
	n.login = out.issued
	return w.with(map[string]node{out.issued: n})
}

// end ends everything that has come of the logins.
func (w *world) end(e event) *world {
	changed := map[string]node{}
	for id, n := range w.nodes {
		if slices.Contains(e.logins, n.login) {
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
