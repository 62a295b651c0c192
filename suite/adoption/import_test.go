package adoption_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// statuses returns what became of each record: "1 2 5".
func statuses(list []redsession.ImportOutcome) string {
	words := make([]string, len(list))
	for i, o := range list {
		words[i] = fmt.Sprint(int(o.Status))
	}
	return strings.Join(words, " ")
}

// imports fails the test unless m imports list with these statuses.
func imports(t *testing.T, m *redsession.Manager, force bool, want string, list ...redsession.LegacyRecord) []redsession.ImportOutcome {
	t.Helper()
	out, err := m.Import(t.Context(), list, force)
	if got := statuses(out); err != nil || got != want {
		t.Fatalf("got %s, %v, want %s", got, err, want)
	}
	return out
}

// many returns n sessions of as many users.
func many(e *stage.Env, n int) []redsession.LegacyRecord {
	list := make([]redsession.LegacyRecord, n)
	for i := range list {
		list[i] = stage.OldSession(e, fmt.Sprint("id-", i), fmt.Sprint("user-", i))
	}
	return list
}

type indiscreet string

func (v indiscreet) MarshalJSON() ([]byte, error) {
	return nil, errors.New("cannot encode " + string(v))
}

func TestImportTellsWhatBecameOfEach(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.MaxBytes = 2000 })
		now := e.Clock.Now()
		rows := []struct {
			name   string
			change func(*redsession.LegacyRecord)
			want   redsession.ImportStatus
			why    string
		}{
			{"a plain one", func(*redsession.LegacyRecord) {}, redsession.ImportStored, ""},
			{"the same again", func(lr *redsession.LegacyRecord) { lr.ID = "0" }, redsession.ImportExisting, ""},
			{"no id", func(lr *redsession.LegacyRecord) { lr.ID = "" }, redsession.ImportRefused, "0 bytes"},
			{"the longest id", func(lr *redsession.LegacyRecord) { lr.ID = strings.Repeat("x", 1024) }, redsession.ImportStored, ""},
			{"an over-long id", func(lr *redsession.LegacyRecord) { lr.ID = strings.Repeat("x", 1025) }, redsession.ImportRefused, "1025 bytes"},
			{"an id of odd bytes", func(lr *redsession.LegacyRecord) { lr.ID = "\xff\x00\n" }, redsession.ImportStored, ""},
			{"no source", func(lr *redsession.LegacyRecord) { lr.Source = "" }, redsession.ImportRefused, "Source"},
			{"a source with a colon", func(lr *redsession.LegacyRecord) { lr.Source = "a:b" }, redsession.ImportRefused, "Source"},
			{"past its end", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = now.Add(-time.Second) }, redsession.ImportExpired, ""},
			{"at its end", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = now.Add(999 * time.Millisecond) }, redsession.ImportExpired, ""},
			{"an end unknown", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = time.Time{} }, redsession.ImportStored, ""},
			{"an end far away", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = time.Unix(1<<60, 0) }, redsession.ImportStored, ""},
			{"created before 1970", func(lr *redsession.LegacyRecord) { lr.CreatedAt = time.Unix(-1e9, 0) }, redsession.ImportStored, ""},
			{"a value of no JSON", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"f": func() {}} }, redsession.ImportRefused, `"f" does not encode`},
			{"a number of no JSON", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"n": math.NaN()} }, redsession.ImportRefused, `"n" does not encode`},
			{"a value that an error quotes", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"v": indiscreet("hunter2")} }, redsession.ImportRefused, `"v" does not encode`},
			{"a reserved name", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"_flash": 1} }, redsession.ImportRefused, "reserved"},
			{"a name of odd bytes", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"\xff": 1} }, redsession.ImportRefused, "UTF-8"},
			{"a user of odd bytes", func(lr *redsession.LegacyRecord) { lr.UserID = "\xff" }, redsession.ImportRefused, "user id"},
			{"too large", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"v": strings.Repeat("x", 2000)} }, redsession.ImportRefused, "MaxBytes allows 2000"},
			{"no values", func(lr *redsession.LegacyRecord) { lr.Values = nil }, redsession.ImportStored, ""},
			{"nobody's", func(lr *redsession.LegacyRecord) { lr.UserID = "" }, redsession.ImportStored, ""},
		}
		list := make([]redsession.LegacyRecord, len(rows))
		for i, row := range rows {
			list[i] = stage.OldSession(e, fmt.Sprint(i), "alice")
			row.change(&list[i])
		}
		out, err := m.Import(t.Context(), list, false)
		if err != nil || len(out) != len(rows) {
			t.Fatalf("got %d outcomes, %v, want %d", len(out), err, len(rows))
		}
		stored := 0
		for i, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				if out[i].Status != row.want || (out[i].Err != nil) != (row.why != "") || out[i].ID == "" {
					t.Errorf("got %+v, want status %d", out[i], row.want)
				}
				if row.why != "" && out[i].Err != nil && (!strings.Contains(out[i].Err.Error(), row.why) || strings.Contains(out[i].Err.Error(), "hunter2")) {
					t.Errorf("got %q, want it to name %s and to quote no value", out[i].Err, row.why)
				}
				if out[i].Status == redsession.ImportStored {
					stored++
				}
			})
		}
		if got := len(e.Events.Of(redsession.EventImported)); got != stored {
			t.Errorf("got %d events, want %d", got, stored)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != stored-1 {
			t.Errorf("got %d sessions in alice's list (%v), want %d", len(infos), err, stored-1)
		}
	})
}

func TestImportOfManyTakesFewRoundTrips(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"one server", "a cluster"} {
		t.Run(on, func(t *testing.T) {
			e := stage.NewMini(t)
			if on == "a cluster" {
				e = stage.FlavourNamed(t, "cluster").Env(t)
			}
			m, c := e.Counted(t)
			list := many(e, 1001)
			if out, err := m.Import(t.Context(), list, false); err != nil || strings.Count(statuses(out), "1") != len(list) {
				t.Fatalf("got %v, want all stored", err)
			}
			if got := c.Take(); on == "one server" && !strings.HasSuffix(got, "in 6") { // 3 pages, 2 pipelines each
				t.Errorf("got commands %s, want 6 round trips", got[max(0, len(got)-20):])
			}
			if err := e.Client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if out, err := m.Import(t.Context(), list, false); err != nil || strings.Count(statuses(out), "2") != len(list) {
				t.Errorf("again: got %v, want all there already", err)
			}
			if out, err := m.Import(t.Context(), list, true); err != nil || strings.Count(statuses(out), "1") != len(list) {
				t.Errorf("forced: got %v, want all stored", err)
			}
			if n, err := m.Count(t.Context()); err != nil || n != len(list) {
				t.Errorf("got %d sessions, %v, want %d", n, err, len(list))
			}
			for _, i := range []int{0, 499, 500, 1000} {
				if infos, err := m.Sessions(t.Context(), list[i].UserID); err != nil || len(infos) != 1 {
					t.Errorf("%s: got %d sessions, %v, want 1", list[i].UserID, len(infos), err)
				}
			}
		})
	}
}

func TestImportCutShortCanBeRepeated(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		list := many(e, 600)
		imports(t, m, false, "1", stage.OldSession(e, "warm", "warm"))
		cuts := []int64{1, 300, 501, 700, 1100}
		if e.Mini != nil {
			cuts = cuts[2:3] // its scripts take a millisecond
		}
		for name, fault := range map[string]func(pick func([]string) bool){"requests lost": p.CutRequest, "replies lost": p.CutReply} {
			for _, nth := range cuts {
				e.Client.FlushDB(t.Context())
				var seen atomic.Int64
				fault(func(args []string) bool {
					return strings.HasPrefix(args[0], "EVAL") && !strings.Contains(args[3], ":probe:") && seen.Add(1) >= nth
				})
				out, err := m.Import(t.Context(), list, false)
				if !errors.Is(err, redsession.ErrUnavailable) || len(out) >= len(list) {
					t.Errorf("%s from %d on: got %d outcomes, %v, want ErrUnavailable", name, nth, len(out), err)
				}
				fault(nil)
				if out, err = m.Import(t.Context(), list, false); err != nil || len(out) != len(list) {
					t.Fatalf("%s from %d on, again: got %d outcomes, %v, want all", name, nth, len(out), err)
				}
				for _, o := range out {
					if o.Status != redsession.ImportStored && o.Status != redsession.ImportExisting {
						t.Fatalf("%s from %d on, again: got %+v, want it stored", name, nth, o)
					}
				}
				for _, i := range []int{0, 299, 499, 500, 599} {
					if infos, err := m.Sessions(t.Context(), list[i].UserID); err != nil || len(infos) != 1 {
						t.Errorf("%s from %d on: %s has %d sessions, %v, want 1", name, nth, list[i].UserID, len(infos), err)
					}
				}
			}
		}
		e.Client.FlushDB(t.Context())
		var hits atomic.Int64
		p.CutReply(stage.AtMost(1, &hits, stage.SetsTombstone))
		imports(t, m, false, "1", stage.OldSession(e, "one", "alice")) // sent again, it finds itself
		p.CutReply(nil)
	})
}

func TestImportsOfOneSessionAtOnce(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		a, b := e.Manager(t, stage.Patient), e.Manager(t, stage.Patient)
		var stored, others atomic.Int64
		stage.Parallel(20, func(i int) {
			out, err := []*redsession.Manager{a, b}[i%2].Import(t.Context(), []redsession.LegacyRecord{stage.OldSession(e, "one", "alice")}, false)
			switch {
			case err != nil:
				t.Error(err)
			case out[0].Status == redsession.ImportStored:
				stored.Add(1)
			case out[0].Status == redsession.ImportExisting:
				others.Add(1)
			}
		})
		if stored.Load() != 1 || others.Load() != 19 {
			t.Errorf("got %d stored and %d there already, want 1 and 19", stored.Load(), others.Load())
		}
	})
}

// The old package may have logged somebody else in under the same id meanwhile.
func TestImportDoesNotEnterAForeignSessionInAnIndex(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for _, force := range []bool{false, true} {
			e.Client.FlushAll(t.Context())
			m := e.Manager(t, stage.Adopting(redsession.Legacy{Source: "old", Cookie: "oldsid"}), func(c *redsession.Config) { c.MaxPerUser = 1 })
			imports(t, m, false, "1", stage.OldSession(e, "one", "alice"))
			want, other := "alice", "bob"
			if force {
				imports(t, m, true, "1", stage.OldSession(e, "one", "bob"))
				want, other = other, want
			} else {
				imports(t, m, false, "2", stage.OldSession(e, "one", "bob"))
			}
			root := stage.NewScripted(t, m)
			root.Fork("").Must("login:" + other)
			if got := root.WithOldCookie("one").Must().Text; got != want+" cart=[tea]" {
				t.Errorf("forced %t, after %s has logged in: got %q, want %s's session as it was", force, other, got, want)
			}
		}
	})
}

func TestImportThatFitsCanBeAdopted(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, stage.Adopting(redsession.Legacy{Source: "old", Cookie: "oldsid"}), func(c *redsession.Config) { c.MaxBytes = 2000 })
		root := stage.NewScripted(t, m)
		for size := 1500; size < 2000; size += 50 {
			lr := stage.OldSession(e, fmt.Sprint(size), "alice")
			lr.Values = map[string]any{"v": strings.Repeat("x", size)}
			out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false)
			if err != nil {
				t.Fatal(err)
			}
			if a := root.WithOldCookie(lr.ID).Do(); out[0].Status == redsession.ImportStored && a.StatusCode != 200 {
				t.Errorf("%d bytes of values: stored, and got %d with the old cookie, want it adopted or refused at once", size, a.StatusCode)
			}
		}
	})
}
