package redsession

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/redsession/redsession/internal/clientinfo"
	"github.com/redsession/redsession/internal/dbsc"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/sessioncookie"
	"github.com/redsession/redsession/internal/store"
)

const (
	defaultBindingPath = "/session-binding"
	defaultLifetime    = 10 * time.Minute
	leastLifetime      = 8 * time.Minute // browsers renew two minutes before the end, and six times in nine minutes at most
	registrationLife   = 10 * time.Minute
	challengeLife      = 5 * time.Minute
	clockSkew          = time.Minute // between servers, for the second cookie
	bounceWithin       = 10 * time.Second
	maxKnownDevices    = 1 << 14
	leastProofAge      = time.Minute
)

var errLocked = fmt.Errorf("redsession: %w", ErrLocked)

// deviceBinding is what a Manager needs to bind sessions to devices. It is safe for
// concurrent use.
type deviceBinding struct {
	DeviceBinding
	signer     *dbsc.Signer
	cookie     string // what begins the names of our second cookies
	attributes string // of these
	sameSite   http.SameSite

	mu    sync.Mutex // guards known
	known *simplelru.LRU[string, dbsc.Key]
}

func newDeviceBinding(c Config, k *core) *deviceBinding {
	d := c.DeviceBinding
	if !d.Enabled {
		return nil
	}
	if c.Cookie.InsecurePlainHTTP {
		c.Logger.Warn("sessions are not bound to devices: browsers do so over HTTPS alone, and Cookie.InsecurePlainHTTP is set")
		return nil
	}
	var keys dbsc.Keys
	for _, one := range k.ring {
		keys.Challenge, keys.Cookie, keys.Token = append(keys.Challenge, one.Device[0]), append(keys.Cookie, one.Device[1]), append(keys.Token, one.Device[2])
	}
	name := c.Cookie.Name
	if !strings.HasPrefix(name, "__Host-") {
		name = "__Host-" + strings.TrimPrefix(name, "__Secure-")
	}
	b := &deviceBinding{DeviceBinding: d, signer: dbsc.NewSigner(keys), cookie: name + "-bound-", sameSite: c.Cookie.SameSite}
	whole := b.newCookie("", "")
	_, b.attributes, _ = strings.Cut(whole.String(), "; ")
	b.known, _ = simplelru.NewLRU[string, dbsc.Key](maxKnownDevices, nil)
	return b
}

// newCookie has the attributes that a browser compares with those that it was told.
func (b *deviceBinding) newCookie(bindingID, value string) *http.Cookie {
	return &http.Cookie{Name: b.cookie + bindingID, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: b.sameSite}
}

// bound returns what the second cookie of a binding says, if it came and is good at now.
func (b *deviceBinding) bound(r *http.Request, bindingID string, now time.Time) (found dbsc.BoundCookie, ok bool) {
	sessioncookie.Find(r, b.cookie, bindingID, func(value string) bool {
		found, ok = b.signer.DecodeCookie(value)
		ok = ok && found.Expires > now.Unix() && strings.HasPrefix(found.Identifier, bindingID) && len(found.Identifier) > len(bindingID) && found.Identifier[len(bindingID)] == '.'
		return ok
	})
	return found, ok
}

// seemsLocked tells whether the session that tk names will be locked, as far as tk tells:
// then its load is to prolong nothing.
func (s *Session) seemsLocked(tk *sessioncookie.Token, now time.Time) bool {
	if s.m.binding == nil || !tk.Bound() {
		return false
	}
	_, ok := s.m.binding.bound(s.r, string(tk.Binding[:]), now)
	return !ok
}

// hasProof tells whether the request may use the session of rec: it belongs to no device, or
// the second cookie came, that only the device can renew.
func (s *Session) hasProof(rec *record.Record, now time.Time) bool {
	b := s.m.binding
	if !rec.Bound() || s.proving {
		return true
	}
	if b == nil { // switched off since: nobody could renew the second cookie
		return true
	}
	return s.showsDeviceOf(rec, now)
}

// lockOut makes the session of a request look empty, since it belongs to a device whose
// second cookie did not come. While Redis is away the device may not have been able to renew
// that.
func (s *Session) lockOut() error {
	m, at := s.m, s.locked[0]
	if m.away.Load() {
		return errRenewal
	}
	s.isLocked = true
	m.count.locked.Add(1)
	s.note(Event{Kind: EventRefused, ID: at.id, UserID: at.rec.User, ActorID: at.rec.Actor, Reason: "the session is bound to a device that has not proved itself"})
	return nil
}

var errRenewal = errors.New("the device of a bound session may not have been able to prove itself")

// showsDeviceOf tells whether the second cookie of the device came to which rec belongs, or
// may begin to belong.
func (s *Session) showsDeviceOf(rec *record.Record, now time.Time) bool {
	if rec.Binding == "" || rec.TTL(now) <= 0 {
		return false
	}
	cookie, ok := s.m.binding.bound(s.r, rec.Binding, now)
	if !ok || rec.Bound() && cookie.Identifier != rec.Device() {
		return false
	}
	s.proof = cookie
	return true
}

// beginBinding notes that the client showed the second cookie of the binding that the login
// offered: from this request on the session belongs to the device.
func (s *Session) beginBinding(rec *record.Record, now time.Time) {
	if rec.Binding == "" || rec.Bound() {
		return
	}
	if cookie, ok := s.m.binding.bound(s.r, rec.Binding, now); ok {
		_, thumbprint, _ := dbsc.SplitIdentifier(cookie.Identifier)
		s.pending.bind = strings.Clone(thumbprint) // it outlives the request's header
		s.proof = cookie
	}
}

// bindLogin decides to which device the session of a login belongs: to the one that its
// user's session belongs to already, or to none yet. Then the response offers the browser to
// bind it, as no other response does: whoever has copied the cookie of a session that is not
// bound must not bind it to a key of their own.
func (s *Session) bindLogin(head *record.Record) {
	b := s.m.binding
	switch {
	case b == nil, s.came.Insecure:
	case s.base != nil && !s.pending.logout && s.base.rec.Bound() && s.base.rec.User == head.User && s.base.rec.Actor == "":
		head.Binding, head.Thumbprint = s.base.rec.Binding, s.base.rec.Thumbprint
	case head.Pending || s.came.Header:
	default:
		head.Binding = dbsc.NewBindingID()
	}
}

// offerBinding asks the browser to bind the session of a login that the response's cookie
// is of. The request in which it does so may come without any cookie.
func (s *Session) offerBinding(h http.Header) {
	b := s.m.binding
	if b == nil || !s.offered || s.cookie != cookieSet || s.base == nil || s.base.rec.Bound() || s.base.rec.Binding == "" || s.base.rec.Pending {
		return
	}
	expires := s.m.cfg.Now().Add(registrationLife)
	subject := s.base.rec.Binding + "." + strconv.FormatInt(s.base.rec.Deadline, 36)
	token := b.signer.EncodeToken(subject, expires)
	h.Set("Secure-Session-Registration", dbsc.RegistrationHeader(b.Path+"/register/"+token, b.signer.Challenge("registration", s.base.rec.Binding, expires)))
}

// serveBinding answers the endpoints of device binding and tells whether r was for one.
func (m *Manager) serveBinding(w http.ResponseWriter, r *http.Request) bool {
	b := m.binding
	rest, ok := strings.CutPrefix(r.URL.Path, b.Path+"/")
	if !ok { // something in front may have taken off a prefix
		if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
			rest, ok = strings.CutPrefix(u.Path, b.Path+"/")
		}
	}
	if !ok {
		return false
	}
	if m.cookies.Insecure(r) { // nobody has a device there
		http.NotFound(w, r)
		return true
	}
	h := w.Header()
	neverStore(h)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	token, registers := strings.CutPrefix(rest, "register/")
	bindingID, refreshes := strings.CutPrefix(rest, "refresh/")
	switch {
	case rest == "bounce.js":
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		script := "location.reload();\n"
		if r.URL.RawQuery == "later" {
			script = "setTimeout(() => location.reload(), 1000);\n"
		}
		w.WriteHeader(http.StatusOK) // as no route leads here, a framework may have 404 in mind
		_, _ = io.WriteString(w, script)
	case !registers && !refreshes:
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		h.Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	case registers:
		m.register(w, r, token)
	default:
		x := &exchange{Context: r.Context()}
		p := &proof{s: &x.session}
		p.s.m, p.s.r, p.s.proving = m, r.WithContext(x), true
		p.refresh(w, bindingID)
	}
	return true
}

// register takes the key of a device. It asks nothing of the session, whose cookie the
// browser may not send after a login by a redirect from another site: the token in the path
// names the binding. The same token and key again get the same answer, as browsers repeat.
func (m *Manager) register(w http.ResponseWriter, r *http.Request, token string) {
	b, now := m.binding, m.cfg.Now()
	subject, ok := b.signer.DecodeToken(token, now)
	bindingID, until, _ := strings.Cut(subject, ".")
	deadline, err := strconv.ParseInt(until, 36, 64)
	if !ok || err != nil {
		m.refuseDevice(w, r, "the offer to bind the session has expired, or is not ours")
		return
	}
	p, err := dbsc.ParseRegistration(r.Header.Get("Secure-Session-Response"))
	if err == nil && b.signer.CheckChallenge("registration", bindingID, p.Challenge, now) != dbsc.Good {
		err = errors.New("the challenge is not that of the offer")
	}
	if err != nil {
		m.refuseDevice(w, r, "registration: "+err.Error())
		return
	}
	identifier := dbsc.Identifier(bindingID, p.Key.Thumbprint())
	device := record.Device{Binding: bindingID, Key: p.Key.Encode(), Deadline: deadline}
	raw := device.Encode(m.ring, m.keys.Binding(identifier))
	ctx, cancel := m.bounded(r.Context())
	defer cancel()
	if _, err := m.store.Run(ctx, &store.Plan{Prepare: []store.Step{&store.Introduce{Identifier: identifier, Raw: raw, TTL: registrationLife}}}); err != nil {
		m.failDevice(w, r, fmt.Errorf("redsession: registering a device: %w: %w", ErrUnavailable, err))
		return
	}
	b.learn(identifier, p.Key)
	b.grant(w.Header(), identifier, now)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(dbsc.Instructions{
		Identifier: identifier, RefreshURL: b.Path + "/refresh/" + bindingID,
		CookieName: b.cookie + bindingID, CookieAttributes: b.attributes,
		Excluded: []string{b.Path}, AnyInitiator: b.sameSite != http.SameSiteNoneMode,
	}.JSON())
}

func (m *Manager) refuseDevice(w http.ResponseWriter, r *http.Request, reason string) {
	m.emit(r.Context(), Event{Kind: EventRefused, Reason: reason, RemoteAddr: clientinfo.RemoteAddr(r, m.cfg.TrustedHops)})
	http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
}

// failDevice answers 503, whatever the ErrorHandler would: other errors would have the browser
// drop its key.
func (m *Manager) failDevice(w http.ResponseWriter, r *http.Request, err error) {
	m.emit(r.Context(), Event{Kind: EventFailed, Reason: refusal(err), Err: err, RemoteAddr: clientinfo.RemoteAddr(r, m.cfg.TrustedHops), Method: r.Method, Path: m.binding.Path})
	answerError(w, r, err)
}

// grant sends the second cookie of a device that has proved itself, and the challenge of its
// next proof.
func (b *deviceBinding) grant(h http.Header, identifier string, now time.Time) {
	bindingID, _, _ := dbsc.SplitIdentifier(identifier)
	cookie := b.newCookie(bindingID, b.signer.EncodeCookie(dbsc.BoundCookie{
		Identifier: identifier, Issued: now.Unix(), Expires: now.Add(b.Lifetime + clockSkew).Unix(),
	}))
	cookie.MaxAge = int(b.Lifetime / time.Second)
	h.Add("Set-Cookie", cookie.String())
	b.challenge(h, identifier, now)
}

func (b *deviceBinding) challenge(h http.Header, identifier string, now time.Time) {
	// It goes along with the second cookie, and is used when that ends.
	c := b.signer.Challenge("refresh", identifier, now.Add(b.Lifetime+challengeLife))
	h.Set("Secure-Session-Challenge", dbsc.ChallengeHeader(c, identifier))
}

// expire makes the browser forget the second cookie of a binding.
func (b *deviceBinding) expire(h http.Header, bindingID string) {
	cookie := b.newCookie(bindingID, "")
	cookie.MaxAge, cookie.Expires = -1, time.Unix(1, 0)
	h.Add("Set-Cookie", cookie.String())
}

// learn remembers the key of a device, for an outage of Redis.
func (b *deviceBinding) learn(identifier string, key dbsc.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known.Add(identifier, key)
}

func (b *deviceBinding) forget(identifier string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known.Remove(identifier)
}

func (b *deviceBinding) recall(identifier string) (dbsc.Key, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known.Get(identifier)
}
