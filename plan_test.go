package redsession

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// showPlan says what a plan does, part by part: each step with its ids' first letters.
func showPlan(p store.Plan) string {
	text := ""
	part := func(name string, steps ...store.Step) {
		for _, st := range steps {
			text += name + " " + showStep(st) + "; "
			name = "and"
		}
	}
	part("prepare", p.Prepare...)
	if p.Decide != nil {
		part("decide", p.Decide)
	}
	part("tidy", p.Tidy...)
	return strings.TrimSuffix(text, "; ")
}

func showStep(st store.Step) string {
	or := func(id string) string { return fmt.Sprintf("%.1s", id+"-") }
	switch st := st.(type) {
	case *store.Insert:
		return fmt.Sprintf("insert %s at %s for %s after %s", st.Raw, or(st.ID), st.TTL, or(st.Earlier))
	case *store.Replace:
		return fmt.Sprintf("replace %s at %s by %s for %s", st.Rev, or(st.ID), st.Raw[14:15], st.TTL)
	case *store.End:
		return fmt.Sprintf("end %s with %q", or(st.ID), st.With.Raw)
	case *store.Enter:
		return fmt.Sprintf("enter %s%s %s at %d for %s, limit %d, old %s, checked %d, latest %d", st.User, st.Tag, or(st.ID), st.Score, st.Life, st.Limit, or(st.Old), st.Checked, st.Latest)
	case *store.Move:
		return fmt.Sprintf("move %s%s from %s to %s at %d for %s", st.User, st.Tag, or(st.Old), or(st.ID), st.Score, st.Life)
	case *store.Leave:
		var ids []string
		for _, id := range st.IDs {
			ids = append(ids, or(id))
		}
		return fmt.Sprintf("leave %s%s %s", st.User, st.Tag, strings.Join(ids, " "))
	}
	return fmt.Sprintf("%T", st)
}

// letterID is the public id that consists of one letter.
func letterID(letter string) string { return strings.Repeat(letter, keyspace.IDLen) }

// tombstoneRaw is a value with a revision, as plans put it in the place of an old record.
func tombstoneRaw(rev string, kind record.Kind) string {
	return `{"v":"` + rev + string(rune(kind)) + `","z":"` + letterID("n") + `","t":"----------------------"}`
}

// at is where a session of user lies ("" for nobody), with a revision of ones.
func at(letter string, rec record.Record) *stored {
	rec.Rev = "11111111"
	return &stored{id: letterID(letter), rec: &rec}
}

// The rows are those of design.md, section 5.
func TestPlanOfALogin(t *testing.T) {
	t.Parallel()
	const prepared = "prepare insert new at n for 1h0m0s after -; and enter ada n at 50 for 2h0m0s, limit 3, old %s, checked 40, latest 90"
	anonymous, ada, bob := at("o", record.Record{}), at("o", record.Record{User: "ada"}), at("o", record.Record{User: "bob"})
	pendingAda, pendingBob := at("o", record.Record{User: "ada", Pending: true}), at("o", record.Record{User: "bob", Pending: true})
	half := record.Record{User: "ada", Pending: true, Auth: 50}
	full := record.Record{User: "ada", Auth: 50}
	for _, row := range []struct {
		name   string
		new    record.Record
		change func(*loginPlan)
		want   string
		on     bool // a compare-and-set decides
	}{
		{"without a session", full, func(*loginPlan) {}, fmt.Sprintf(prepared, "-"), false},
		{"over an anonymous session", full, func(p *loginPlan) { p.old, p.keep = anonymous, true }, fmt.Sprintf(prepared, "-") + "; decide replace 11111111 at o by l for 1m0s", true},
		{"over the same user's", full, func(p *loginPlan) { p.old, p.keep = ada, true }, fmt.Sprintf(prepared, "o") + "; decide replace 11111111 at o by l for 1m0s; tidy leave ada o", true},
		{"a promotion", full, func(p *loginPlan) { p.old, p.keep = pendingAda, true }, fmt.Sprintf(prepared, "-") + "; decide replace 11111111 at o by l for 1m0s", true},
		{"over another user's", full, func(p *loginPlan) { p.old = bob }, fmt.Sprintf(prepared, "-") + "; decide end o with \"" + "TOMB" + "\"; tidy leave bob o", false},
		{"over another user's half-open one", full, func(p *loginPlan) { p.old = pendingBob }, fmt.Sprintf(prepared, "-") + "; decide end o with \"" + "TOMB" + "\"", false},
		{"a half-open one without a session enters no index", half, func(*loginPlan) {}, "prepare insert new at n for 1h0m0s after -", false},
		{"a half-open one over the same user's", half, func(p *loginPlan) { p.old, p.keep = ada, true }, "prepare insert new at n for 1h0m0s after -; decide replace 11111111 at o by l for 1m0s; tidy leave ada o", true},
		{"with tags, over a session with others", tagged("ada", "A", "B"), func(p *loginPlan) { p.old, p.keep = at("o", tagged("ada", "B", "C")), true }, fmt.Sprintf(prepared, "o") +
			entered("A") + entered("B") + "; decide replace 11111111 at o by l for 1m0s; tidy leave ada o; and " + "leave " + hash("B") + " o; and leave " + hash("C") + " o", true},
		{"by another, over their session", record.Record{User: "ada", Actor: "bob", Auth: 50}, func(p *loginPlan) { p.old, p.keep = bob, true }, strings.Replace(fmt.Sprintf(prepared, "-"), "limit 3", "limit 0", 1) +
			"; and enter bob n at 50 for 2h0m0s, limit 0, old -, checked 40, latest 90; decide replace 11111111 at o by l for 1m0s; tidy leave bob o", true},
		{"half-open with tags", record.Record{User: "ada", Pending: true, Auth: 50, Tags: tagged("ada", "A").Tags}, func(*loginPlan) {}, "prepare insert new at n for 1h0m0s after -", false},
		{"after an earlier try that stored its record", full, func(p *loginPlan) { p.earlier = "2earlier" }, strings.Replace(fmt.Sprintf(prepared, "-"), "after -", "after 2", 1), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			tomb := tombstoneRaw("2222tomb", 'l')
			p := loginPlan{
				at: at("n", row.new), as: sealed{letterID("n"), "new", time.Hour, false}, over: sealed{letterID("o"), tomb, time.Minute, false},
				life: 2 * time.Hour, limit: 3, checked: 40, latest: 90,
			}
			row.change(&p)
			a := planLogin(p)
			want := strings.ReplaceAll(row.want, `"TOMB"`, fmt.Sprintf("%q", tomb))
			if got := showPlan(a.plan); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			decides(t, a, row.on, letterID("o"), "2222tomb")
			if a.result != p.at || a.raw != "new" || (a.enter != nil) == row.new.Pending || (a.end != nil) != strings.Contains(want, "decide end") {
				t.Errorf("got result %v, raw %q, enter %v and end %v", a.result, a.raw, a.enter, a.end)
			}
		})
	}
}

// hash is the hash of a tag that consists of one letter.
func hash(letter string) string { return strings.Repeat(letter, 24) }

// tagged is the record of a login with these tags.
func tagged(user string, letters ...string) record.Record {
	var tags []string
	for _, letter := range letters {
		tags = append(tags, hash(letter)+"sealed")
	}
	return record.Record{User: user, Auth: 50, Tags: record.Tags(strings.Join(tags, " "))}
}

func entered(letter string) string {
	return "; and enter " + hash(letter) + " n at 50 for 2h0m0s, limit 0, old -, checked 40, latest 90"
}

// decides checks what tells afterwards whether a was performed.
func decides(t *testing.T, a attempt, on bool, id, own string) {
	t.Helper()
	want := [3]string{}
	if on {
		want = [3]string{id, own, "11111111"}
	}
	if got := [3]string{a.on, a.own, a.old}; got != want {
		t.Errorf("got %q to decide, want %q", got, want)
	}
}

func TestPlanAfterTriesOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		new  record.Record
		ids  []string
		want string
	}{
		{"without any there is nothing to do", record.Record{User: "ada"}, nil, ""},
		{"a login takes theirs away, and their entries", record.Record{User: "ada"}, []string{letterID("x"), letterID("y")}, `tidy end x with ""; and end y with ""; and leave ada x y`},
		{"those of its tags as well", tagged("ada", "A"), []string{letterID("x")}, `tidy end x with ""; and leave ada x; and leave ` + hash("A") + " x"},
		{"a half-open login has no entries", record.Record{User: "ada", Pending: true}, []string{letterID("x")}, `tidy end x with ""`},
		{"a first write has none either", record.Record{}, []string{letterID("x")}, `tidy end x with ""`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := attempt{result: at("n", row.new)}
			if a.endOrphans(row.ids); showPlan(a.plan) != row.want {
				t.Errorf("got  %s\nwant %s", showPlan(a.plan), row.want)
			}
		})
	}
}

func TestPlanOfAWrite(t *testing.T) {
	t.Parallel()
	seen := record.Record{User: "ada", Auth: 50, Seen: 7}
	seenTagged := tagged("ada", "A")
	seenTagged.Seen = 7
	for _, row := range []struct {
		name     string
		old, new record.Record
		first    string
	}{
		{"of an anonymous session", record.Record{}, record.Record{}, ""},
		{"of a user's session", record.Record{User: "ada"}, record.Record{User: "ada"}, ""},
		{"when a rotated id is first seen, the entry is made again before", record.Record{User: "ada", Auth: 50}, seen, "prepare move ada from - to o at 50 for 2h0m0s; "},
		{"when a tagged one is first seen", tagged("ada", "A"), seenTagged, "prepare move ada from - to o at 50 for 2h0m0s; and move " + hash("A") + " from - to o at 50 for 2h0m0s; "},
		{"when it was seen before", seen, seen, ""},
		{"when an anonymous one is first seen", record.Record{}, record.Record{Seen: 7}, ""},
		{"when a half-open one is first seen", record.Record{User: "ada", Pending: true}, record.Record{User: "ada", Pending: true, Seen: 7}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			old, raw := at("o", row.old), tombstoneRaw("2222next", 'r')
			a := planWrite(old, &row.new, sealed{old.id, raw, time.Hour, false}, 2*time.Hour)
			if got, want := showPlan(a.plan), row.first+"decide replace 11111111 at o by r for 1h0m0s"; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			decides(t, a, true, old.id, "2222next")
			if a.result.id != old.id || a.result.sid != old.sid || a.result.rec != &row.new || a.raw != raw || old.rec.Seen != row.old.Seen {
				t.Errorf("got the result %+v", a.result)
			}
		})
	}
}

func TestPlanOfAFirstWriteRotationAndEnding(t *testing.T) {
	t.Parallel()
	ended := tagged("ada", "A")
	as, over := sealed{letterID("n"), "new", time.Hour, false}, sealed{letterID("o"), tombstoneRaw("2222tomb", 'o'), time.Minute, false}
	rotation := func(rec record.Record) attempt {
		return planRotation(at("n", rec), as, "", at("o", rec), over, 2*time.Hour, 99)
	}
	adoption := func(rec record.Record) attempt {
		old := at("o", rec)
		old.legacy = "old id"
		return planRotation(at("n", rec), as, "", old, over, 2*time.Hour, 99)
	}
	renewal := func(before, now record.Record) attempt {
		return planRotation(at("n", now), as, "", at("o", before), over, 2*time.Hour, 99)
	}
	const inserted = "prepare insert new at n for 1h0m0s after -"
	for _, row := range []struct {
		name string
		got  attempt
		want string
		on   bool
	}{
		{"a first write only stores", planCreate(at("n", record.Record{}), as, ""), inserted, false},
		{"a rotation of a user's session", rotation(record.Record{User: "ada", Auth: 50}), inserted + "; decide replace 11111111 at o by o for 1m0s; tidy move ada from o to n at 50 for 2h0m0s", true},
		{"a rotation of a tagged session", rotation(tagged("ada", "A")), inserted + "; decide replace 11111111 at o by o for 1m0s; tidy move ada from o to n at 50 for 2h0m0s; and move " + hash("A") + " from o to n at 50 for 2h0m0s", true},
		{"a rotation that renews a tag", renewal(tagged("ada", "A"), tagged("ada", "B")), inserted + "; and move " + hash("B") + " from - to o at 50 for 2h0m0s; decide replace 11111111 at o by o for 1m0s; tidy move ada from o to n at 50 for 2h0m0s; and move " + hash("B") + " from o to n at 50 for 2h0m0s; and leave " + hash("A") + " o", true},
		{"a rotation of a session that somebody acts in", rotation(record.Record{User: "ada", Actor: "bob", Auth: 50}), inserted + "; decide replace 11111111 at o by o for 1m0s; tidy move ada from o to n at 50 for 2h0m0s; and move bob from o to n at 50 for 2h0m0s", true},
		{"a rotation of an anonymous session", rotation(record.Record{}), inserted + "; decide replace 11111111 at o by o for 1m0s", true},
		{"a rotation of a half-open one", rotation(record.Record{User: "ada", Pending: true}), inserted + "; decide replace 11111111 at o by o for 1m0s", true},
		{"a user's session of another package", adoption(record.Record{User: "ada", Auth: 50}), inserted + "; and enter ada o at 50 for 2h0m0s, limit 0, old -, checked 50, latest 99; decide replace 11111111 at o by o for 1m0s; tidy move ada from o to n at 50 for 2h0m0s", true},
		{"an anonymous one of another package", adoption(record.Record{}), inserted + "; decide replace 11111111 at o by o for 1m0s", true},
		{"an ending", attempt{plan: planEnding(&store.End{ID: letterID("o")}, nil)}, `decide end o with ""`, false},
		{"an ending of a known user's", attempt{plan: planEnding(&store.End{ID: letterID("o"), With: store.Burial{Raw: "tomb"}}, &record.Record{User: "ada"})}, `decide end o with "tomb"; tidy leave ada o`, false},
		{"an ending of a tagged one", attempt{plan: planEnding(&store.End{ID: letterID("o")}, &ended)}, `decide end o with ""; tidy leave ada o; and leave ` + hash("A") + " o", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := showPlan(row.got.plan); got != row.want || row.got.plan.AwaitTidy {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			decides(t, row.got, row.on, letterID("o"), "2222tomb")
		})
	}
}

// managerAt returns one that has no Redis and whose clock stands at now.
func managerAt(now time.Time, change func(*Config)) *Manager {
	c := Config{Now: func() time.Time { return now }, RotateEvery: time.Hour}
	change(&c)
	return &Manager{Admin: &Admin{&core{cfg: c}}}
}

func TestRotationDue(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	micro := func(d time.Duration) int64 { return now.Add(-d).UnixMicro() }
	for _, row := range []struct {
		name  string
		every time.Duration
		rec   record.Record
		want  bool
	}{
		{"a moment before", time.Hour, record.Record{User: "ada", Auth: micro(time.Hour - time.Microsecond)}, false},
		{"at the moment", time.Hour, record.Record{User: "ada", Auth: micro(time.Hour)}, true},
		{"since the last rotation, not the login", time.Hour, record.Record{User: "ada", Auth: micro(9 * time.Hour), Issued: ago(time.Minute), Seen: ago(time.Minute)}, false},
		{"an hour after the last rotation", time.Hour, record.Record{User: "ada", Auth: micro(9 * time.Hour), Issued: ago(time.Hour), Seen: ago(time.Minute)}, true},
		{"not while the client has not shown the new id", time.Hour, record.Record{User: "ada", Auth: micro(9 * time.Hour), Issued: ago(2 * time.Hour)}, false},
		{"never for an anonymous session", time.Hour, record.Record{}, false},
		{"never for a half-open one", time.Hour, record.Record{User: "ada", Pending: true, Auth: micro(9 * time.Hour)}, false},
		{"never if RotateEvery is negative", -1, record.Record{User: "ada", Auth: micro(9 * time.Hour)}, false},
		{"not for a login of the future", time.Hour, record.Record{User: "ada", Auth: micro(-time.Hour)}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := managerAt(now, func(c *Config) { c.RotateEvery = row.every })
			if got := m.rotationDue(&row.rec); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestLifeOfAnEntryAndOfARecord(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 500_000_000)
	for _, row := range []struct {
		name           string
		idle, deadline int64 // of it, seconds from now
		entry, record  time.Duration
	}{
		{"idle before the deadline", 60, 3600, time.Hour, time.Minute},
		{"the deadline first", 60, 30, 30 * time.Second, 30 * time.Second},
		{"at the deadline", 60, 0, time.Second, 0},
		{"past the deadline an entry has an end all the same", 60, -30, time.Second, -30 * time.Second},
		{"no idle time", 0, 30, 30 * time.Second, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			rec := record.Record{Idle: row.idle, Deadline: now.Unix() + row.deadline}
			if got := managerAt(now, func(*Config) {}).entryLife(&rec); got != row.entry {
				t.Errorf("got %s for the entry, want %s", got, row.entry)
			}
			if got := rec.TTL(now); got != row.record {
				t.Errorf("got %s for the record, want %s", got, row.record)
			}
		})
	}
}
