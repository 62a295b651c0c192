package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/doctor"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

func bindingKey(i int) string { return "session:bind:" + identifier(i) }

func identifier(i int) string { return fmt.Sprintf("%08d.%s", i, strings.Repeat("t", 43)) }

// device stores the key of the device of the ith binding.
func device(t *testing.T, c redis.UniversalClient, key string, life time.Duration) {
	t.Helper()
	d := record.Device{Binding: strings.TrimPrefix(key, "session:bind:")[:8], Key: "ES256.AAAA", Deadline: time.Now().Add(12 * time.Hour).Unix()}
	if err := c.Set(t.Context(), key, d.Encode(ringOf(t), key), life).Err(); err != nil {
		t.Fatal(err)
	}
}

// logins stores n logins, of which the first bound ones belong to devices.
func logins(t *testing.T, c redis.UniversalClient, n, bound int) {
	t.Helper()
	now := time.Now()
	for i := range n {
		r := &record.Record{Created: now.Unix(), Auth: now.UnixMicro(), User: "alice", Deadline: now.Add(12 * time.Hour).Unix(), Idle: 3600}
		if i < bound {
			r.Binding, r.Thumbprint, _ = strings.Cut(identifier(i), ".")
			device(t, c, bindingKey(i), 12*time.Hour)
		}
		key := "session:" + numberedID(i)
		raw, err := r.Encode(ringOf(t), key, false)
		if err != nil {
			t.Fatal(err)
		}
		c.SetEx(t.Context(), key, raw, time.Hour)
	}
}

func TestDoctorLooksAtBindings(t *testing.T) {
	for _, tt := range []struct {
		name     string
		spoil    func(t *testing.T, c *redis.Client)
		args     []string
		secrets  string
		check    string
		severity doctor.Severity
		seen     string
	}{
		{name: "some logins are bound", check: "binding", severity: doctor.OK, seen: "4 of 20 logins belong to a device"},
		{name: "a device waits, a session ended by time", spoil: func(t *testing.T, c *redis.Client) {
			device(t, c, bindingKey(100), 5*time.Minute)
			c.Del(t.Context(), "session:"+numberedID(0))
		}, check: "binding", severity: doctor.OK, seen: "3 of 19 logins belong to a device; 2 more keys of devices than that, 1 of these young"},
		{name: "in a sample, nothing is said of keys without a session", args: []string{"--sample", "5"}, check: "binding", severity: doctor.OK, seen: "logins belong to a device"},
		{name: "nobody is bound", spoil: func(t *testing.T, c *redis.Client) {
			for i := range 4 {
				c.Del(t.Context(), bindingKey(i), "session:"+numberedID(i))
			}
		}, check: "binding", severity: doctor.OK, seen: "no session belongs to a device (16 logins looked at)"},
		{name: "a device's key has no TTL", spoil: func(t *testing.T, c *redis.Client) { c.Persist(t.Context(), bindingKey(1)) }, check: "ttl", severity: doctor.Fail, seen: "1 of 24 keys looked at have no TTL, for example " + bindingKey(1)},
		{name: "a device's key is gone", spoil: func(t *testing.T, c *redis.Client) { c.Del(t.Context(), bindingKey(2)) }, check: "binding", severity: doctor.Fail, seen: "1 of 4 bound sessions have no key of their device, for example " + numberedID(2)},
		{name: "a device's key is gone, without secrets", secrets: "none", spoil: func(t *testing.T, c *redis.Client) { c.Del(t.Context(), bindingKey(2)) }, check: "binding", severity: doctor.Fail, seen: "1 of 4 bound sessions have no key of their device"},
		{name: "a device's key was copied", spoil: func(t *testing.T, c *redis.Client) {
			c.Copy(t.Context(), bindingKey(1), bindingKey(2), 0, true)
		}, check: "binding", severity: doctor.Fail, seen: "1 of 4 keys of devices do not verify, for example " + bindingKey(2)},
		{name: "a copied key has the right form, without secrets", secrets: "none", spoil: func(t *testing.T, c *redis.Client) {
			c.Copy(t.Context(), bindingKey(1), bindingKey(2), 0, true)
		}, check: "binding", severity: doctor.OK, seen: "4 of 20 logins"},
		{name: "a device's key was planted, without secrets", secrets: "none", spoil: func(t *testing.T, c *redis.Client) {
			c.Set(t.Context(), bindingKey(3), "planted", time.Hour)
		}, check: "binding", severity: doctor.Fail, seen: "1 of 4 keys of devices do not verify"},
		{name: "a list lies under a device's key", spoil: func(t *testing.T, c *redis.Client) {
			c.Del(t.Context(), bindingKey(3), "session:"+numberedID(3))
			c.RPush(t.Context(), bindingKey(3), "x")
			c.Expire(t.Context(), bindingKey(3), time.Hour)
		}, check: "binding", severity: doctor.Fail, seen: "1 of 4 keys of devices do not verify"},
		{name: "one login registers devices again and again", spoil: func(t *testing.T, c *redis.Client) {
			for i := range 11 {
				device(t, c, fmt.Sprintf("session:bind:AAAAAAAA.%043d", i), time.Minute)
			}
		}, check: "binding", severity: doctor.Warn, seen: "11 keys of devices were registered for one login (binding AAAAAAAA)"},
		{name: "devices register and no session becomes theirs", spoil: func(t *testing.T, c *redis.Client) {
			for i := range 4 {
				c.Del(t.Context(), bindingKey(i), "session:"+numberedID(i))
			}
			for i := range 11 {
				device(t, c, bindingKey(100+i), time.Minute)
			}
		}, check: "binding", severity: doctor.Warn, seen: "11 devices have registered in the last 10 minutes, and no session belongs to one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := redistest.Start(t)
			logins(t, srv.Client(), 20, 4)
			if tt.spoil != nil {
				tt.spoil(t, srv.Client())
			}
			t.Setenv("REDSESSION_SECRETS", base64Secret())
			if tt.secrets == "none" {
				t.Setenv("REDSESSION_SECRETS", "")
			}
			found, code := examine(t, srv.URL, tt.args...)
			wantFinding(t, found, tt.check, tt.severity, tt.seen)
			if (tt.severity == doctor.Fail) != (code == exitFailed) {
				t.Errorf("got exit code %d for %v", code, found)
			}
		})
	}
}

// TestDoctorLooksAtBindingsOfACluster has sessions and the keys of their devices on other nodes.
func TestDoctorLooksAtBindingsOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	logins(t, client, 30, 20)
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	found, _ := examine(t, cluster.URL)
	wantFinding(t, found, "binding", doctor.OK, "20 of 30 logins belong to a device")
	client.Del(t.Context(), bindingKey(7))
	found, _ = examine(t, cluster.URL)
	wantFinding(t, found, "binding", doctor.Fail, "1 of 20 bound sessions have no key of their device, for example "+numberedID(7))
}

func TestDoctorOnATerminalTellsOfBindings(t *testing.T) {
	srv := redistest.Start(t)
	logins(t, srv.Client(), 3, 2)
	srv.Client().Del(t.Context(), bindingKey(0))
	o := ctlTerminal(t, 100, "", srv.URL, "doctor")
	o.wants(t, exitFailed, "binding", "1 of 2 bound sessions have no key", "→ find out what takes those keys away", "2 of 3 logins belong to a device")
	ctl(t, srv.URL, "doctor").wants(t, exitFailed, "ok\tbinding\t\t2 of 3 logins belong to a device\t\n")
}
