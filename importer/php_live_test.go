package importer_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer"
)

// original returns the path of a program that writes sessions. Where it is not installed the test is skipped, but for CI,
// whose script installs it.
func original(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startPHP starts PHP's own web server with these settings, and returns its address.
func startPHP(t *testing.T, settings ...string) string {
	t.Helper()
	php := original(t, "php")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	args := []string{"-S", addr}
	for _, s := range settings {
		args = append(args, "-d", s)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, php, append(args, "testdata/session.php")...)
	var log strings.Builder
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = server.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return "http://" + addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("PHP does not answer: %s", log.String())
		}
	}
}

// setCookie returns the value of the cookie that one visit sets, as it was written.
func setCookie(t *testing.T, url, name string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	for _, line := range response.Header["Set-Cookie"] {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			value, _, _ = strings.Cut(value, ";")
			return value
		}
	}
	t.Fatalf("got the status %s and no cookie", response.Status)
	return ""
}

// TestPHPItself has PHP write sessions in each of its forms: 40 of each, so that ids with a comma are among those of 6 bits.
func TestPHPItself(t *testing.T) {
	original(t, "php")
	const visits = 40
	_, client := startRedis(t)
	dir := t.TempDir()
	for _, row := range []struct {
		handler, serializer string
		bits                int
	}{
		{"files", "php", 4},
		{"files", "php_serialize", 5},
		{"files", "php_binary", 6},
		{"files", "php", 6},
		{"redis", "php", 6},
		{"redis", "php_serialize", 4},
		{"redis", "php_binary", 5},
	} {
		t.Run(fmt.Sprintf("%s, %s, %d bits", row.handler, row.serializer, row.bits), func(t *testing.T) {
			place, legacy := dir, importer.AdoptPHPFiles(dir)
			var source importer.Source = importer.PHPFiles(dir)
			if row.handler == "redis" {
				client.FlushDB(t.Context())
				place = "tcp://" + client.(*redis.Client).Options().Addr
				records := importer.PHPRedis(client, "")
				legacy, source = records.Adopt(""), records
			}
			url := startPHP(t, "session.save_handler="+row.handler, "session.save_path="+place, "session.serialize_handler="+row.serializer,
				fmt.Sprintf("session.sid_bits_per_character=%d", row.bits), "session.lazy_write=0")
			commas, found := 0, 0
			for range visits {
				value := setCookie(t, url, "PHPSESSID")
				if strings.Contains(value, "%2C") {
					commas++
				}
				id, err := legacy.Verify(value)
				if err != nil {
					t.Errorf("got error %v for the cookie, want none", err)
					continue
				}
				rec, err := legacy.Load(t.Context(), id)
				if adas(t, "live", rec, err); rec == nil {
					continue
				}
				if plain, _ := rec.Values["plain"].(map[string]any); plain["a"] != int64(1) || rec.Values["inf"] != nil {
					t.Errorf("got other values than were written")
				}
				found++
			}
			t.Logf("%d of %d cookies found, %d with a comma", found, visits, commas)
			if found != visits || row.bits == 6 && commas == 0 {
				t.Errorf("got %d of %d, %d with a comma, want all, and some", found, visits, commas)
			}
			report := run(t, newSink(), source, importer.Options{UserID: func(redsession.LegacyRecord) string { return "ada" }})
			if report.Imported < visits || report.Found != report.Imported {
				t.Errorf("at once: got %d of %d found, want all", report.Imported, report.Found)
			}
			if n := report.Notes["values left out: a number is infinite or not a number"]; n != report.Found {
				t.Errorf("got %d values left out, want %d", n, report.Found)
			}
		})
	}
}
