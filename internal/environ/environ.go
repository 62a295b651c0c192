// Package environ reads settings from environment variables. Its errors name the
// variable, and never a secret.
package environ

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// MinSecretLen is the shortest secret in bytes: 256 bits, the strength of the HMAC that
// it keys.
const MinSecretLen = 32

// Text returns the value of a variable without white space around it.
func Text(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// Duration reads seconds or a Go duration, at least one second; 0 if the variable is unset
// or empty.
func Duration(name string) (time.Duration, error) {
	v := Text(name)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if seconds, numErr := strconv.ParseInt(v, 10, 32); numErr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < time.Second {
		return 0, fmt.Errorf(`%s is %q, want seconds such as 604800 or a Go duration such as 168h, at least one second`, name, v)
	}
	return d, nil
}

// Bool reads true or false; false if the variable is unset or empty.
func Bool(name string) (bool, error) {
	v := Text(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%s is %q, want true or false", name, v)
	}
	return b, nil
}

// Line returns the one line of a variable or, if name with _FILE behind it is set, of the file
// that names, without white space around it. Both together are a mistake.
func Line(name string) (string, error) {
	v, source, err := textOrFile(name)
	if err == nil && strings.ContainsAny(v, "\r\n") {
		return "", fmt.Errorf("%s has several lines, want one", source)
	}
	return v, err
}

// Secrets reads a list of secrets in base64 or hex, with commas between them, from a variable or
// from the file that name with _FILE behind it names, where lines do as well.
func Secrets(name string) ([][]byte, error) {
	v, source, err := textOrFile(name)
	if v == "" || err != nil {
		return nil, err
	}
	if source != name {
		v = strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == '\r' || r == '\n' }), ",")
	}
	var secrets [][]byte
	for i, text := range strings.Split(v, ",") {
		secret, ok := decodeSecret(strings.TrimSpace(text))
		if !ok {
			return nil, fmt.Errorf("%s: entry %d is neither base64 nor hex of at least %d bytes: make one with `openssl rand -base64 32`", source, i+1, MinSecretLen)
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

// decodeSecret tries hex first: hex digits are base64 as well, but hardly by
// chance over 64 characters.
func decodeSecret(text string) ([]byte, bool) {
	decoders := []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	}
	for _, decode := range decoders {
		if b, err := decode(text); err == nil && len(b) >= MinSecretLen {
			return b, true
		}
	}
	return nil, false
}
