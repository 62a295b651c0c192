package redsession

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/record"
)

func TestLookupJudge(t *testing.T) {
	t.Parallel()
	now, grace := time.Unix(1_800_000_000, 0), time.Minute
	s := now.Unix()
	alive := func(seen int64) *record.Record { return &record.Record{Idle: 60, Deadline: s + 60, Seen: seen} }
	over := func(seen int64) *record.Record { return &record.Record{Idle: 60, Deadline: s, Seen: seen} }
	tomb := func(kind record.Kind, deadline, seen int64) *record.Tombstone {
		return &record.Tombstone{Kind: kind, Deadline: deadline, Seen: seen}
	}
	for _, row := range []struct {
		name     string
		rec      *record.Record
		tomb     *record.Tombstone
		followed bool
		want     verdict
	}{
		{"nothing lies there", nil, nil, false, missing},
		{"nothing lies where a rotated id leads", nil, nil, true, missing},
		{"a record", alive(0), nil, false, live},
		{"a record whose id was seen long ago, by that id", alive(s - 3600), nil, false, live},
		{"a record past its deadline", over(0), nil, false, missing},
		{"a record without an idle time", &record.Record{Deadline: s + 60}, nil, false, missing},
		{"a record where a rotated id leads, never seen", alive(0), nil, true, live},
		{"a record where a rotated id leads, seen a grace ago", alive(s - 60), nil, true, live},
		{"a record where a rotated id leads, seen longer ago", alive(s - 61), nil, true, replayed},
		{"a record past its deadline where a rotated id leads", over(0), nil, true, missing},
		{"a record past its deadline where a rotated id leads after its grace", over(s - 61), nil, true, replayed},
		{"a logout's tombstone", nil, tomb('e', s+1, 0), false, endedLately},
		{"a login's tombstone", nil, tomb('l', s+1, 0), false, endedLately},
		{"a logout's tombstone past its end", nil, tomb('e', s, 0), false, missing},
		{"a login's tombstone past its end", nil, tomb('l', s, 0), false, missing},
		{"a rotation's tombstone", nil, tomb('o', s+1, 0), false, leadsOn},
		{"an adoption's tombstone", nil, tomb('a', s+1, 0), false, leadsOn},
		{"a rotation's tombstone past its end", nil, tomb('o', s, 0), false, missing},
		{"a rotation's tombstone whose own id was seen long ago, by that id", nil, tomb('o', s+1, s-3600), false, leadsOn},
		{"a second rotation, the first id never seen", nil, tomb('o', s+1, 0), true, leadsOn},
		{"a second rotation within the grace", nil, tomb('o', s+1, s-60), true, leadsOn},
		{"a second rotation after the grace", nil, tomb('o', s+1, s-61), true, replayed},
		{"a logout where a rotated id leads", nil, tomb('e', s+1, 0), true, endedLately},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := judge(row.rec, row.tomb, row.followed, now, grace); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestLookupGraceOver(t *testing.T) {
	t.Parallel()
	seen := time.Unix(1_800_000_000, 0)
	for _, row := range []struct {
		name  string
		seen  int64
		after time.Duration
		want  bool
	}{
		{"never seen, however late", 0, 1000 * time.Hour, false},
		{"just seen", seen.Unix(), 0, false},
		{"at its end", seen.Unix(), time.Minute, false},
		{"a nanosecond after its end", seen.Unix(), time.Minute + 1, true},
		{"seen by a server whose clock is ahead", seen.Unix(), -time.Hour, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			now := seen.Add(row.after)
			rec, tomb := &record.Record{Seen: row.seen}, &record.Tombstone{Seen: row.seen}
			if a, b := graceOver(rec, nil, now, time.Minute), graceOver(nil, tomb, now, time.Minute); a != row.want || b != row.want {
				t.Errorf("got %v of a record and %v of a tombstone, want %v", a, b, row.want)
			}
		})
	}
}

func TestLookupChoose(t *testing.T) {
	t.Parallel()
	one := func(letter, user string, auth int64) candidate {
		return candidate{verdict: live, at: &stored{id: letterID(letter), rec: &record.Record{User: user, Auth: auth}}}
	}
	led := func(c candidate) candidate { c.followed = true; return c }
	half := func(letter, user string, auth int64) candidate {
		c := one(letter, user, auth)
		c.at.rec.Pending = true
		return c
	}
	ada9, ada10, bob9 := half("h", "ada", 9), half("i", "ada", 10), half("j", "bob", 9)
	anonA, anonB, ada1, ada2, bob := one("a", "", 0), one("b", "", 0), one("c", "ada", 1), one("d", "ada", 2), one("e", "bob", 9)
	for _, row := range []struct {
		name  string
		alive []candidate
		want  string // the winner, and the others
	}{
		{"none", nil, "-:"},
		{"the only one", []candidate{ada1}, "c:"},
		{"the first of two anonymous ones", []candidate{anonA, anonB}, "a:b"},
		{"a login before an anonymous one", []candidate{ada1, anonA}, "c:a"},
		{"a login behind an anonymous one", []candidate{anonA, ada1}, "c:a"},
		{"the latest login of one user", []candidate{ada1, ada2}, "d:c"},
		{"the latest login in any order", []candidate{ada2, ada1}, "d:c"},
		{"logins of two users are nobody's, and end together", []candidate{ada1, bob}, "-:ce two users"},
		{"logins of two users are nobody's, the newer one first", []candidate{bob, ada1}, "-:ec two users"},
		{"an anonymous one is left beside those of two users", []candidate{ada1, anonA, bob}, "a:ce two users"},
		{"a third login does not make one of two users win", []candidate{ada1, bob, ada2}, "-:ced two users"},
		{"a login before a later half-open one of the same user", []candidate{ada9, ada1}, "c:h"},
		{"a login before a later half-open one, in the other order", []candidate{ada1, ada9}, "c:h"},
		{"of two half-open ones the later", []candidate{ada9, ada10}, "i:h"},
		{"a half-open one before an anonymous one", []candidate{anonA, ada9}, "h:a"},
		{"a half-open one of another user makes them two users'", []candidate{ada1, bob9}, "-:cj two users"},
		{"two half-open ones of two users", []candidate{bob9, ada9}, "-:jh two users"},
		{"three of one user, and an anonymous one", []candidate{anonA, ada1, ada2, ada1}, "d:acc"},
		{"an anonymous one's own cookie before a rotated id of it", []candidate{led(anonA), anonA}, "a:"},
		{"an anonymous one's own cookie, and then a rotated id of it", []candidate{anonA, led(anonA)}, "a:"},
		{"a rotated id beside its own successor is not ended", []candidate{ada1, led(ada1)}, "c:"},
		{"the successor's own cookie wins", []candidate{led(ada1), ada1}, "c:"},
		{"a rotated id that leads to the later login", []candidate{ada1, led(ada2)}, "d:c"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(row.alive)
			winner, others, twoUsers := choose(row.alive)
			got := "-:"
			if winner != nil {
				got = winner.at.id[:1] + ":"
				if winner.followed && slices.ContainsFunc(before, func(c candidate) bool { return !c.followed && c.at.id == winner.at.id }) {
					t.Error("the client would get a cookie that it has")
				}
			}
			for _, o := range others {
				got += fmt.Sprintf("%.1s", o.id)
			}
			if twoUsers {
				got += " two users"
			}
			if got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}
