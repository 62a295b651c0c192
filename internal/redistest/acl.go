package redistest

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// StartACL starts a Redis that only this user can use, within the ACL rules ("~session:*", "+get"); without rules the
// user may do everything. The default user is off.
func StartACL(t testing.TB, user, password string, rules ...string) *Server {
	t.Helper()
	if len(rules) == 0 {
		rules = []string{"~*", "&*", "+@all"}
	}
	// The hash instead of the password, which may hold what separates words in the file.
	users := fmt.Sprintf("user default off\nuser %s on #%x %s\n", user, sha256.Sum256([]byte(password)), strings.Join(rules, " "))
	file := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		t.Fatalf("redistest: writing the ACL file: %v", err)
	}
	return launch(t, func(port int) flavour {
		f := plain(t, port, "--aclfile", file)
		f.url = (&url.URL{Scheme: "redis", User: url.UserPassword(user, password), Host: f.addr}).String()
		return f
	})
}
