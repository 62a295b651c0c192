package attack_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Lifetimes of the model's servers, in seconds. No sum of pauses comes near one of them.
const (
	idle, anonymousIdle, absolute = 24 * 3600, 3 * 3600, 40 * 3600
	halfOpen, grace, leading      = 600, 60, 24 * 3600
	slack                         = 60 // Redis's clock goes on while that of the test stands still
)

// node is what lies at an id.
type node struct {
	ended            bool
	by               string // the login that took its place, "" if none did or its id is not known
	lost             bool   // a login whose id nobody knows took its place
	endedAt          int64  // when a login did
	doubtful         bool   // it may have been ended, or not
	next             string // the successor of a rotated id
	user             string
	half             bool
	login            string // the id at login or creation, which rotation keeps
	born             int    // round of that
	k, log           string // the values
	hitMin, hitMax   int64  // when the last hit was
	idle, deadline   int64
	checked          span  // when the password of a half-open login was
	issued           bool  // by a rotation
	seenMin, seenMax int64 // when its cookie was first seen; 0 for not at all, and for nobody knows
}

func (n node) view() string {
	words := []string{n.user}
	if n.half {
		words[0] = "half:" + n.user
	}
	if n.k != "" {
		words = append(words, "k="+n.k)
	}
	if n.log != "" {
		words = append(words, "log="+n.log)
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// known is n when it is sure that it has not been ended.
func (n node) known() node {
	if n.doubtful {
		n.doubtful, n.by, n.lost = false, "", false
	}
	return n
}

// mayBeOver and mustBeOver tell what time has done.
func (n node) mayBeOver(now int64) bool {
	return now >= min(n.hitMin+n.idle, n.deadline)-slack
}

func (n node) mustBeOver(now int64) bool { return now >= min(n.hitMax+n.idle, n.deadline) }

// span is a moment that is known to lie between two others, in the servers' microseconds.
type span struct{ from, to int64 }

// world is a state of the model. It is never changed.
type world struct {
	nodes map[string]node
	marks map[string]span // when sessions of a user were revoked, last; from is 0 if it may not have been
	storm bool            // there has been one: a rotation may have had an unknown outcome
	text  string
}

func newWorld(nodes map[string]node, marks map[string]span, storm bool) *world {
	w := &world{nodes: nodes, marks: marks, storm: storm}
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		fmt.Fprintf(&b, "%s:%v;", id, nodes[id])
	}
	w.text = b.String() + fmt.Sprint(marks) // Sprint sorts
	return w
}

func (w *world) with(changed map[string]node) *world {
	nodes := maps.Clone(w.nodes)
	maps.Copy(nodes, changed)
	return newWorld(nodes, w.marks, w.storm)
}

// marked is w once all sessions of the user, or all but one, were revoked.
func (w *world) marked(user string, at span) *world {
	marks := maps.Clone(w.marks)
	old := marks[user]
	marks[user] = span{max(old.from, at.from), max(old.to, at.to)}
	return newWorld(w.nodes, marks, w.storm)
}

// mayRefuse and mustRefuse tell whether a login is refused because the user was revoked after the password was checked.
func (w *world) mayRefuse(user string, checked span) bool {
	return w.marks[user].to >= checked.from && w.marks[user].to != 0
}

func (w *world) mustRefuse(user string, checked span) bool { return w.marks[user].from >= checked.to }

// resolve follows the successors of id to the last. ok tells whether a session may live there.
func (w *world) resolve(id string, now int64) (at string, n node, ok bool) {
	for at = id; ; at = n.next {
		var there bool
		if n, there = w.nodes[at]; !there || n.ended || n.mustBeOver(now) {
			return at, n, false
		}
		if n.next == "" {
			return at, n, true
		}
	}
}

// surely tells whether a session lives at id or at what it leads to, whatever the clocks say.
func (w *world) surely(id string, now int64) bool {
	for at := id; ; at = w.nodes[at].next {
		if n, there := w.nodes[at]; !there || n.ended || n.doubtful || n.mayBeOver(now) {
			return false
		} else if n.next == "" {
			return true
		}
	}
}
