package importer

import (
	"errors"
	"net/url"
	"strings"
)

// errBadID shows nothing of the cookie that it is about.
var errBadID = errors.New("the cookie has no id of the old package")

// asWritten has verify look at a cookie's value as its writer encoded it: PHP and
// Express percent-encode what is none of a few characters, and so do some clients
// and proxies with what they pass on. What does not decode, or is refused then, is
// taken as it came.
func asWritten(verify func(string) (string, error)) func(string) (string, error) {
	return func(value string) (string, error) {
		if strings.ContainsRune(value, '%') {
			if decoded, err := url.PathUnescape(value); err == nil {
				if id, err := verify(decoded); err == nil {
					return id, nil
				}
			}
		}
		return verify(value)
	}
}

// rawID verifies a cookie that is nothing but the id.
func rawID(known func(string) bool) func(string) (string, error) {
	return asWritten(func(value string) (string, error) {
		if !known(value) {
			return "", errBadID
		}
		return value, nil
	})
}
