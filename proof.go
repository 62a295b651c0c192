package redsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/redsession/redsession/internal/dbsc"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/sessioncookie"
	"github.com/redsession/redsession/internal/store"
)

// proof is a request in which a device proves that it has its key, and gets the second
// cookie of its session anew.
type proof struct {
	s          *Session // of the session's cookie, if one came
	identifier string
}

// refresh answers it. Every status from 400 to 499 but 403 with a challenge makes the browser
// drop its key, so that is the answer for a binding that is gone, and for nothing else.
func (p *proof) refresh(w http.ResponseWriter, bindingID string) {
	m, b, r := p.s.m, p.s.m.binding, p.s.r
	now := m.cfg.Now()
	var ok bool
	p.identifier, ok = dbsc.SessionID(r.Header.Get("Sec-Secure-Session-Id"))
	if named, _, split := dbsc.SplitIdentifier(p.identifier); !ok || !split || named != bindingID {
		p.end(w, bindingID, "a proof without the identifier of its binding")
		return
	}
	header := r.Header.Get("Secure-Session-Response")
	if header == "" {
		p.ask(w, now)
		return
	}
	key, err := p.load(r.Context(), now)
	switch {
	case errors.Is(err, errNoDevice):
		p.end(w, bindingID, "")
		return
	case errors.Is(err, errOtherDevice):
		p.end(w, bindingID, err.Error())
		return
	case err != nil:
		m.failDevice(w, r, fmt.Errorf("redsession: proving a device: %w: %w", ErrUnavailable, err))
		return
	}
	challenge, err := dbsc.VerifyRefresh(header, key)
	if err != nil || b.signer.CheckChallenge("refresh", p.identifier, challenge, now) != dbsc.Good {
		if err != nil {
			p.refuse("proof of a device: " + err.Error())
		}
		p.ask(w, now)
		return
	}
	b.learn(p.identifier, key)
	if p.s.base != nil && p.s.turns() {
		p.s.pending.rotate = true
		_ = p.s.commit(r.Context(), nil, nil) // what failed is tried again with the next proof
	}
	if p.s.cookie != cookieKeep {
		_ = p.s.complete(w.Header())
	}
	m.count.proofs.Add(1)
	b.grant(w.Header(), p.identifier, now)
	w.WriteHeader(http.StatusOK) // an empty body: what the browser was told at the registration stays
}

// ask answers 403 with a challenge.
func (p *proof) ask(w http.ResponseWriter, now time.Time) {
	p.s.m.binding.challenge(w.Header(), p.identifier, now)
	w.WriteHeader(http.StatusForbidden)
}

// end answers 401: the browser drops its key, and the second cookie.
func (p *proof) end(w http.ResponseWriter, bindingID, reason string) {
	m := p.s.m
	if reason != "" {
		p.refuse(reason)
	}
	m.binding.forget(p.identifier)
	m.binding.expire(w.Header(), bindingID)
	w.WriteHeader(http.StatusUnauthorized)
}

func (p *proof) refuse(reason string) {
	p.s.note(Event{Kind: EventRefused, Reason: reason})
	p.s.tell()
}

var (
	errNoDevice    = errors.New("no such device")
	errOtherDevice = errors.New("a proof beside the cookie of a session that belongs to another device, or to none")
)

// load reads the key of the device, and in the same round trip the session whose cookie came,
// if there is one: it must not belong to another device. It is passive, as a proof is no
// activity: a page that polls has the browser make it too, and the id may turn with it. While
// Redis is away the key is the one that this process knows.
func (p *proof) load(ctx context.Context, now time.Time) (dbsc.Key, error) {
	s, m := p.s, p.s.m
	s.loadedAt, s.confirmed = now.UnixMicro(), now
	s.head, s.passive = m.anonymous(), true
	var tokens sessioncookie.Tokens
	s.came, tokens = m.cookies.Read(s.r, false, now) // serveBinding has asked
	var ids []string
	for _, tk := range tokens.All() {
		ids = append(ids, tk.SID.ID())
	}
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	found, sessions, err := m.store.Device(ctx, p.identifier, ids)
	if err != nil {
		if key, known := m.binding.recall(p.identifier); known {
			return key, nil
		}
		return dbsc.Key{}, err
	}
	if found.Absent() {
		return dbsc.Key{}, errNoDevice
	}
	device, err := record.OpenDevice(m.ring, m.keys.Binding(p.identifier), found.Raw())
	if err != nil { // planted, or sealed by a secret that another server has
		p.refuse("the key of a device: " + err.Error())
		return dbsc.Key{}, err
	}
	key, err := dbsc.ParseKey(device.Key)
	if err != nil {
		return key, err
	}
	return key, p.follow(ctx, tokens.All(), sessions, now)
}

// follow goes on from the session whose cookie came with the proof.
func (p *proof) follow(ctx context.Context, tokens []sessioncookie.Token, sessions []store.Entry, now time.Time) error {
	s, m := p.s, p.s.m
	bindingID, thumbprint, _ := dbsc.SplitIdentifier(p.identifier)
	other, over := false, false
	for i, e := range sessions {
		at := &stored{sid: tokens[i].SID, id: e.ID, left: e.TTL}
		bounded := lazyContext{parent: ctx, deadline: time.Now().Add(m.cfg.RedisTimeout)}
		c, err := s.resolve(&bounded, at, claim{deadline: tokens[i].Deadline}, e.Value, now)
		bounded.cancel()
		if err != nil {
			return err
		}
		if c.verdict != live {
			over = over || c.verdict == missing && string(tokens[i].Binding[:]) == bindingID
			continue
		}
		if rec := c.at.rec; rec.Binding != bindingID || rec.Bound() && rec.Thumbprint != thumbprint {
			other = true
			continue
		}
		s.use(c.at)
		s.expires = c.at.ends(now)
		if c.followed || c.claim.deadline != c.at.rec.Deadline {
			s.cookie = cookieSet
		}
		return nil
	}
	switch {
	case other:
		return errOtherDevice
	case over: // the session has ended by time, and its key is of no use
		return errNoDevice
	}
	return nil
}

// asksForProof answers requests whose browser may have to prove itself before they can be
// served, and tells whether it did.
func (m *Manager) asksForProof(w http.ResponseWriter, r *http.Request, s *Session) bool {
	b := m.binding
	switch {
	case s.isLocked && b.bounces(r):
		b.bounce(w, "")
	case !s.unproven || s.base != nil || s.isLocked:
		return false
	case b.bounces(r):
		bindingID, _, _ := dbsc.SplitIdentifier(s.proof.Identifier)
		b.expire(w.Header(), bindingID)
		b.bounce(w, "")
	case m.cfg.Now().Sub(time.Unix(s.proof.Issued, 0)) < bounceWithin: // it has just proved itself, and would be sent back for ever
		return false
	default:
		b.sendBack(w, r, s.proof.Identifier)
	}
	return true
}

// sendBack has the browser send r once more, and prove itself first, as it has no second
// cookie any more.
func (b *deviceBinding) sendBack(w http.ResponseWriter, r *http.Request, identifier string) {
	bindingID, _, _ := dbsc.SplitIdentifier(identifier)
	b.expire(w.Header(), bindingID)
	neverStore(w.Header())
	http.Redirect(w, r, sameAddress(r), http.StatusTemporaryRedirect)
}

// bounces tells whether r is a page that a link from another site leads to: the browser
// then sends the session's cookie and may not have renewed the second one. Loaded by a
// script of this site's it does so first.
func (b *deviceBinding) bounces(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		(site == "cross-site" || site == "same-site")
}

// bounce has the browser load the page again. A reload keeps the fragment of the address,
// and comes as from this site, so that it is not answered by this page once more.
func (b *deviceBinding) bounce(w http.ResponseWriter, query string) {
	h := w.Header()
	neverStore(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `<!doctype html><meta charset="utf-8"><title>One moment</title><script src="`+b.Path+`/bounce.js`+query+`"></script><p><a href="">Continue</a>`)
}

// refusesUnbound answers a request that needs a bound session and has none. Right after the
// login the browser may still be about to bind it.
func (m *Manager) refusesUnbound(w http.ResponseWriter, r *http.Request, s *Session) bool {
	if !s.lacksDevice(r) {
		return false
	}
	b := m.binding
	navigation := !s.came.Insecure && r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if navigation && m.cfg.Now().Sub(s.AuthTime()) < bounceWithin {
		b.bounce(w, "?later")
		return true
	}
	m.cfg.Forbidden.ServeHTTP(w, r)
	return true
}

// lacksDevice tells whether r needs a bound session and s is none.
func (s *Session) lacksDevice(r *http.Request) bool {
	b := s.m.binding
	return b != nil && b.Require != nil && !s.DeviceBound() && b.Require(r)
}

// RequireProof passes on requests of a user who has logged in and whose device has proved
// itself within the last max: ask for it before what matters. Of others a GET is sent back to
// the same address once, without the second cookie, so that the browser proves itself before
// it asks again; whatever else is answered by Config.Forbidden. With
// Cookie.InsecurePlainHTTP, where nothing is bound, a login is enough; not so for the requests
// that Cookie.InsecureWhen names. It belongs inside Handler. It panics if max is under a minute, as browsers make few proofs, or if Config.DeviceBinding is
// not enabled.
func (m *Manager) RequireProof(max time.Duration) func(http.Handler) http.Handler {
	if max < leastProofAge {
		panic(fmt.Sprintf("redsession: RequireProof(%s): want a minute at least", max))
	}
	if !m.cfg.DeviceBinding.Enabled {
		panic("redsession: RequireProof needs Config.DeviceBinding")
	}
	return func(next http.Handler) http.Handler {
		return m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.FromContext(r.Context())
			s.mu.Lock()
			bound := s.base != nil && s.base.rec.Bound()
			issued, identifier := s.proof.Issued, s.proof.Identifier
			s.mu.Unlock()
			switch {
			case m.binding == nil, bound && m.cfg.Now().Unix()-issued <= int64(max/time.Second):
				next.ServeHTTP(w, r)
			case bound && r.Method == http.MethodGet:
				m.binding.sendBack(w, r, identifier)
			default:
				m.cfg.Forbidden.ServeHTTP(w, r)
			}
		}))
	}
}

// sameAddress is that of r as the browser sees it, and never another host's.
func sameAddress(r *http.Request) string {
	address := r.RequestURI
	if !strings.HasPrefix(address, "/") {
		address = r.URL.RequestURI()
	}
	return "/" + strings.TrimLeft(address, `/\`)
}
