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

// deviceKey is the key in Redis of the device of the nth login.
func deviceKey(n int) string { return "session:bind:" + deviceOf(n) }

func deviceOf(n int) string { return fmt.Sprintf("%08d.%043d", n, n) }

// fillLogins stores n logins that were offered a binding, of which the first ones are bound.
func fillLogins(t *testing.T, client redis.UniversalClient, n, bound int) {
	t.Helper()
	ring, now := ringOf(t), time.Now()
	for i := range n {
		binding, thumbprint, _ := strings.Cut(deviceOf(i), ".")
		key, ends := "session:"+numberedID(i), now.Add(24*time.Hour).Unix()
		r := &record.Record{User: "alice", Auth: now.UnixMicro(), Created: now.Unix(), Deadline: ends, Idle: 3600, Binding: binding}
		if i < bound {
			r.Thumbprint = thumbprint
			device := record.Device{Binding: binding, Key: "ES256.AAAA", Deadline: ends}
			client.SetEx(t.Context(), deviceKey(i), device.Encode(ring, deviceKey(i)), 24*time.Hour)
		}
		raw, err := r.Encode(ring, key, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.SetEx(t.Context(), key, raw, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctorLooksAtDeviceBinding(t *testing.T) {
	srv := redistest.Start(t)
	client := srv.Client()
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	for _, tt := range []struct {
		name          string
		logins, bound int
		spoil         func(t *testing.T)
		args          []string
		check         string
		severity      doctor.Severity
		seen          string
	}{
		{"nobody has logged in", 0, 0, nil, nil, "device binding", doctor.OK, "0 of 0 logins"},
		{"some are bound", 5, 3, nil, nil, "device binding", doctor.OK, "3 of 5 logins are bound to a device, 2 were offered it, and"},
		{"a few browsers cannot", 19, 0, nil, nil, "device binding", doctor.OK, "0 of 19 logins"},
		{"no browser takes the offer", 20, 0, nil, nil, "device binding", doctor.Warn, "no browser has taken the offer"},
		{"a device's key is gone", 5, 3, func(t *testing.T) {
			client.Del(t.Context(), deviceKey(1))
		}, nil, "device binding", doctor.Fail, "1 of them have no device's key, for example " + numberedID(1)},
		{"a sample that comes across no key of a device", 5, 3, nil, []string{"--sample", "1"}, "device binding", doctor.OK, "are bound to a device"},
		{"a device's key lies on after its session", 5, 3, func(t *testing.T) {
			client.Del(t.Context(), "session:"+numberedID(2))
		}, nil, "device binding", doctor.OK, "1 devices' keys are of sessions that have ended or begin"},
		{"a device's key was planted", 5, 3, func(t *testing.T) {
			client.Copy(t.Context(), deviceKey(1), deviceKey(2), 0, true)
		}, nil, "device binding", doctor.Fail, "1 of 3 devices' keys do not verify, for example " + deviceKey(2)},
		{"a list lies under a device's key", 5, 3, func(t *testing.T) {
			client.Del(t.Context(), deviceKey(2))
			client.RPush(t.Context(), deviceKey(2), "x")
			client.Expire(t.Context(), deviceKey(2), time.Hour)
		}, nil, "device binding", doctor.Fail, "1 of 3 devices' keys do not verify"},
		{"a device's key has no TTL", 5, 3, func(t *testing.T) {
			client.Persist(t.Context(), deviceKey(2))
		}, nil, "ttl", doctor.Fail, "1 of 8 keys looked at have no TTL, for example " + deviceKey(2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client.FlushAll(t.Context())
			fillLogins(t, client, tt.logins, tt.bound)
			if tt.spoil != nil {
				tt.spoil(t)
			}
			found, code := examine(t, srv.URL, tt.args...)
			wantFinding(t, found, tt.check, tt.severity, tt.seen)
			if (tt.severity == doctor.Fail) != (code == exitFailed) {
				t.Errorf("got exit code %d for %v", code, found)
			}
		})
	}
	client.FlushAll(t.Context())
	fillLogins(t, client, 5, 3)
	ctlTerminal(t, 90, "", srv.URL, "doctor").wants(t, exitDone, "device binding", "3 of 5 logins are bound to a device")
	t.Setenv("REDSESSION_SECRETS", "")
	found, _ := examine(t, srv.URL)
	wantFinding(t, found, "device binding", doctor.OK, "3 of 5 logins are bound")
}

// TestDoctorFindsDevicesKeysInACluster, where they lie on other nodes than their sessions.
func TestDoctorFindsDevicesKeysInACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	t.Setenv("REDSESSION_SECRETS", base64Secret())
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cluster.Nodes[0].Addr}})
	defer client.Close()
	fillLogins(t, client, 20, 10)
	found, _ := examine(t, cluster.URL)
	wantFinding(t, found, "device binding", doctor.OK, "10 of 20 logins are bound")
	found, _ = examine(t, cluster.URL, "--sample", "6")
	wantFinding(t, found, "device binding", doctor.OK, "logins are bound")
	client.Del(t.Context(), deviceKey(3))
	found, _ = examine(t, cluster.URL)
	wantFinding(t, found, "device binding", doctor.Fail, "for example "+numberedID(3))
}
