package stage

import (
	"fmt"
	"net/http"

	"github.com/redsession/redsession"
)

// reference is the workload that all figures of this project are about: ten
// keys, 310 bytes as JSON, of which the handler reads an int and a string.
var reference = map[string]any{
	"user_id": 4711, "name": "Ada Lovelace", "email": "ada@example.org", "lang": "en_GB", "tz": "Europe/London",
	"roles": []string{"admin", "editor"}, "tenant": "analytical-engine", "theme": "dark",
	"last_page": "/notes/sketch-of-the-engine/g-1843", "csrf": "0123456789abcdef0123456789abcdef",
}

// Fill sets the values of the reference workload.
func Fill(s *redsession.Session) {
	for name, v := range reference {
		redsession.Key[any](name).Set(s, v)
	}
}

// Number is what ShowNumber shows.
const Number = redsession.Key[int]("number")

// ShowNumber answers with the number in the session.
func ShowNumber(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
	n, _ := Number.Get(s)
	fmt.Fprint(w, n)
}
