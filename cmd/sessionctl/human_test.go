package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for _, tt := range []struct {
		d           time.Duration
		want, short string
	}{
		{0, "0s", "0s"},
		{400 * time.Millisecond, "0s", "0s"},
		{59 * time.Second, "59s", "59s"},
		{time.Minute, "1m", "1m"},
		{61 * time.Second, "1m 1s", "1m"},
		{23*time.Hour + 59*time.Minute + 59*time.Second, "23h 59m", "23h"},
		{24 * time.Hour, "1d", "1d"},
		{30*24*time.Hour + 5*time.Hour, "30d 5h", "30d"},
	} {
		if got, short := span(tt.d), roughly(tt.d); got != tt.want || short != tt.short {
			t.Errorf("%v: got %q and %q, want %q and %q", tt.d, got, short, tt.want, tt.short)
		}
	}
}

func TestPlaceHasNoPassword(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"redis://localhost", "redis://localhost"},
		{"redis://user:hunter2@h:1/2?read_timeout=1s", "redis://h:1/2"},
		{"rediss://:hunter2@h:1/?ca=f", "rediss://h:1"},
		{"unix:///run/redis.sock?db=1", "unix:///run/redis.sock"},
		{"unix://user:hunter2@/run/redis.sock", "unix:///run/redis.sock"},
		{"redis+cluster://user:hunter2@h1:1,h2:2", "redis+cluster://h1:1,h2:2"},
		{"redis+sentinel://user:hunter2@h1,h2/mymaster/0?sentinel_password=hunter2", "redis+sentinel://h1,h2/mymaster/0"},
		{"redis+sentinel://user:h@x/hunter2@h1/mymaster", "redis+sentinel://x"},
	} {
		if got := placeOf(tt.url); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestCleanShowsWhatWouldMoveTheCursor(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"plain text stays", "Mozilla/5.0 (é 日本)", "Mozilla/5.0 (é 日本)"},
		{"an escape sequence", "a\x1b[31mb", `a\u001b[31mb`},
		{"its form of one character", "a\u009b31mb", `a\u009b31mb`},
		{"a tab and a new line", "a\tb\n", `a\u0009b\u000a`},
		{"text turned around", "a\u202eb", `a\u202eb`},
		{"what is not UTF-8", "a\xffb", "a\ufffdb"},
		{"an invisible tag", "a\U000e0041b", `a\udb40\udc41b`},
	} {
		if got := clean(tt.text); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestShieldIDs(t *testing.T) {
	const id = "-Uall-AAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, tt := range []struct{ name, args, want string }{
		{"an ordinary line stays", "show " + someID + " --json", "show " + someID + " --json"},
		{"an id with a dash goes last", "show " + id + " --json", "show --json -- " + id},
		{"what follows -- stays", "show -- " + id, "show -- " + id},
		{"a user may look like an id", "list --user " + id, "list --user " + id},
		{"a flag has no 32 characters", "list --user=alice", "list --user=alice"},
	} {
		if got := shieldIDs(strings.Fields(tt.args)); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
