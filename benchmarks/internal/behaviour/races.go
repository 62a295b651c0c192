package behaviour

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// together has fifty requests load the same session before the first of them goes on, and returns how many were
// answered with 200.
func together(b *browser, words func(i int) string) (accepted int) {
	release := make([]func() answer, parallel)
	for i := range release {
		release[i] = b.fork().hold("hold " + words(i))
	}
	answers := make([]answer, parallel)
	var wg sync.WaitGroup
	for i := range release {
		wg.Go(func() { answers[i] = release[i]() })
	}
	wg.Wait()
	for _, a := range answers {
		if a.status == http.StatusOK {
			accepted++
		}
	}
	return accepted
}

func tally(kept, accepted int, done string) verdict {
	seen := fmt.Sprintf("%d of %d %s", kept, parallel, done)
	if accepted < parallel {
		seen += fmt.Sprintf(", %d refused", parallel-accepted)
	}
	return verdict{seen, kept >= accepted && accepted > 0}
}

func parallelWrites(st *stage) verdict {
	b := st.member("alice")
	accepted := together(b, func(i int) string { return "set:" + key(i) + ":1" })
	kept := 0
	a := b.do("")
	for i := range parallel {
		if a.has(key(i) + "=1") {
			kept++
		}
	}
	return tally(kept, accepted, "kept")
}

func parallelIncrements(st *stage) verdict {
	b := st.member("alice")
	accepted := together(b, func(int) string { return "add:n" })
	counted := 0
	a := b.do("")
	for n := range parallel + 1 {
		if a.has(fmt.Sprint("n=", n)) {
			counted = n
		}
	}
	return tally(counted, accepted, "counted")
}

func logoutDuring(words string) func(*stage) verdict {
	return func(st *stage) verdict {
		b := st.member("alice")
		thief := b.fork()
		release := b.fork().hold(words)
		b.do("logout")
		late := release()
		if thief.do("").has("user=alice") {
			return verdict{"logged in again", false}
		}
		if late.status != http.StatusOK {
			return verdict{fmt.Sprintf("stays out, the late request gets %d", late.status), true}
		}
		return verdict{"stays out", true}
	}
}

func loginDuring(st *stage) verdict {
	var wrong []string
	b := st.browser()
	b.do("set:cart:1")
	fixed := b.fork()
	b.do("login:alice")
	if fixed.do("").has("user=alice") {
		wrong = append(wrong, "the id stays the same")
	}
	b = st.browser()
	b.do("set:cart:1")
	old := b.fork()
	release := b.fork().hold("hold set:late:1")
	b.do("login:alice")
	late := release()
	if !b.do("").has("user=alice") {
		wrong = append(wrong, "the login is lost")
	}
	if a := old.do(""); a.has("cart=1") && !a.has("user=alice") && len(wrong) == 0 {
		wrong = append(wrong, "the old id is back")
	}
	if len(wrong) > 0 {
		return verdict{strings.Join(wrong, ", "), false}
	}
	return verdict{fmt.Sprintf("ok, the late request gets %d", late.status), true}
}

func deadlinePasses(st *stage) verdict {
	b := st.member("alice")
	thief := b.fork()
	release := b.fork().hold("hold set:late:1")
	// Redis's clock decides, and it cannot be moved.
	for end := time.Now().Add(time.Minute); len(st.records()) > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	late := release()
	var wrong []string
	for _, k := range st.records() {
		if st.admin.TTL(context.Background(), k).Val() == -1 {
			wrong = append(wrong, "a key without TTL stays")
		}
	}
	if thief.do("").has("user=alice") {
		wrong = append(wrong, "came back")
	}
	if late.status == http.StatusOK && len(wrong) == 0 {
		wrong = append(wrong, "lost without a word")
	}
	if len(wrong) > 0 {
		return verdict{strings.Join(wrong, ", "), false}
	}
	return verdict{fmt.Sprintf("stays ended, the request gets %d", late.status), true}
}

func firstWrite(words string) func(*stage) verdict {
	return func(st *stage) verdict {
		b := st.browser()
		a := b.do(words)
		switch {
		case b.do("").has("a=1"):
			return verdict{"ok", true}
		case !a.set:
			return verdict{"lost: no cookie", false}
		}
		return verdict{"lost", false}
	}
}

func clientGone(st *stage) verdict {
	b := st.browser()
	b.do("set:a:0")
	ctx, leave := context.WithCancel(context.Background())
	go b.fork().send(ctx, "hold gone set:a:1", url.Values{"tell": {"yes"}})
	held := <-st.gate
	leave()
	close(held)
	<-st.finished
	if b.do("").has("a=1") {
		return verdict{"kept", true}
	}
	return verdict{"lost", false}
}
