package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// FuzzConfigFromEnv reads any environment. What is wrong names its variable, what
// is accepted is safe, and no error of it or of New shows a secret.
func FuzzConfigFromEnv(f *testing.F) {
	const b64 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	for _, row := range [][7]string{
		{"redis://localhost", "session:", "604800", "720h", b64, "session", "true"},
		{"", "", "", "", "", "", ""},
		{"://", "a b", "-1", "1e9h", b64 + "," + strings.Repeat("ab", 32), "__Host-x", "perhaps"},
		{"redis://a,b", "\x7f", "999999999999", "9223372036s", ",", "a b;", "1"},
		{"unix:///s", strings.Repeat("p", 300), "0.5s", "1ns", " " + b64 + " ,", "__Secure-" + strings.Repeat("x", 5000), "T"},
	} {
		f.Add(row[0], row[1], row[2], row[3], row[4], row[5], row[6])
	}
	f.Fuzz(func(t *testing.T, url, prefix, expiration, absolute, secrets, cookie, insecure string) {
		const mark = "hunter2hunter2xx" // base64 as well; no error has it but from the secrets
		if strings.ContainsRune(url+prefix+expiration+absolute+secrets+cookie+insecure, 0) {
			return // no environment can hold it
		}
		env := map[string]string{
			"URL": url, "PREFIX": prefix, "EXPIRATION": expiration, "ABSOLUTE": absolute, "COOKIE": cookie, "INSECURE": insecure,
			"SECRETS": mark + secrets,
		}
		for name, v := range env {
			t.Setenv("REDSESSION_"+name, v)
		}
		c, err := redsession.ConfigFromEnv()
		if err != nil && !strings.Contains(err.Error(), "REDSESSION_") {
			t.Errorf("got %v, want the variable named", err)
		}
		c.URL, c.Client = "", nil // so that New checks everything else and connects to nobody
		_, newErr := redsession.New(c)
		if newErr == nil || strings.Contains(errors.Join(err, newErr).Error(), mark) {
			t.Errorf("got %v and from New %v, want errors without the secrets", err, newErr)
		}
		if err == nil {
			wantSafe(t, c)
		}
	})
}

// wantSafe wants what came from the environment to be within bounds.
func wantSafe(t *testing.T, c redsession.Config) {
	t.Helper()
	for _, d := range []time.Duration{c.IdleTimeout, c.AbsoluteTimeout} {
		if d != 0 && d < time.Second {
			t.Errorf("got a timeout of %s, want none or at least a second", d)
		}
	}
	if len(c.Secrets) == 0 {
		t.Errorf("got no secrets from a variable that is set")
	}
	for i, s := range c.Secrets {
		if len(s) < 32 {
			t.Errorf("got %d bytes of secret %d, want at least 32", len(s), i)
		}
	}
}
