package stage

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// sink hears everything that the whole suite logs, and knows every cookie that a
// server gave to a browser in it: TestMain compares the two in the end.
var sink struct {
	mu     sync.Mutex
	logged strings.Builder
	secret map[string]string // what must not be logged, and what it is
}

func sinkLog(p []byte) {
	sink.mu.Lock()
	defer sink.mu.Unlock()
	sink.logged.Write(p)
}

// clientLog is a go-redis logger, so that what the client logs is looked through too instead of being in the way.
type clientLog struct{}

// Printf is that of go-redis's logger.
func (clientLog) Printf(_ context.Context, format string, v ...any) {
	sinkLog(fmt.Appendf(nil, format+"\n", v...))
}

// sinkCookies remembers the session cookies of a response, and their SIDs.
func sinkCookies(res *http.Response) {
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if sink.secret == nil {
		sink.secret = make(map[string]string)
	}
	for _, c := range res.Cookies() {
		payload, content, err := openCookie(c.Value)
		if err != nil {
			continue
		}
		sid := content[:sidSize]
		sink.secret[strings.TrimRight(c.Value, "=")] = "a cookie"
		sink.secret[payload] = "a cookie's payload"
		sink.secret[base64.RawURLEncoding.EncodeToString(sid)] = "an SID as base64url"
		sink.secret[base64.RawStdEncoding.EncodeToString(sid)] = "an SID as base64"
		sink.secret[hex.EncodeToString(sid)] = "an SID as hex"
	}
}

var longWord = regexp.MustCompile(`[A-Za-z0-9+/_-]{43,}`)

// leaked tells what the suite has logged that it must not.
func leaked() error {
	sink.mu.Lock()
	defer sink.mu.Unlock()
	for _, word := range longWord.FindAllString(sink.logged.String(), -1) {
		if what, ok := sink.secret[word]; ok {
			return fmt.Errorf("the suite logged %s", what)
		}
	}
	fmt.Printf("the suite gave out %d secrets and logged %d bytes, none of them a secret\n", len(sink.secret), sink.logged.Len())
	return nil
}
