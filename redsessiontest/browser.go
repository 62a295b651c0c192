package redsessiontest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Browser is a browser with a cookie jar that speaks Device Bound Session Credentials, as
// Chromium does: it binds a session when a login offers that, and proves that it has the key
// before it sends a request without the second cookie. It goes by the Manager's clock. Where
// Cookie.InsecureWhen says that a request comes over plain HTTP, it neither sends nor takes
// Secure cookies, nor one of the name of a Secure cookie that it has. Its methods may be called
// from several goroutines.
type Browser struct {
	m  *Manager
	mu sync.Mutex // guards what follows

	cookies map[string]kept
	devices map[string]*device // by session_identifier
	keyless bool
	proving map[string]chan struct{} // closed when the refresh under way is over
}

type kept struct {
	value   string
	expires time.Time // zero for until the browser closes
	secure  bool
}

// device is what a browser keeps of a binding.
type device struct {
	identifier, refresh, cookie string
	excluded                    []string
	anyInitiator                bool
	key                         *ecdsa.PrivateKey
	challenge                   string
}

// Browser returns a browser without cookies. Bindings need a Config with
// DeviceBinding.Enabled and without InsecurePlainHTTP.
func (m *Manager) Browser() *Browser {
	return &Browser{m: m, cookies: map[string]kept{}, devices: map[string]*device{}, proving: map[string]chan struct{}{}}
}

// Thief returns a browser that has copied b's cookies, and no key.
func (b *Browser) Thief() *Browser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Browser{m: b.m, cookies: maps.Clone(b.cookies), devices: map[string]*device{}, keyless: true, proving: map[string]chan struct{}{}}
}

// Close closes the browser: cookies without a lifetime are gone, keys stay.
func (b *Browser) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.cookies, func(_ string, c kept) bool { return c.expires.IsZero() })
}

// Cookies returns the names of the cookies that b would send now.
func (b *Browser) Cookies() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.live()))
}

// Get sends a GET for path to h and follows no redirect.
func (b *Browser) Get(h http.Handler, path string, fields ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "https://example.com"+path, nil)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return b.Do(h, r)
}

// Do sends r to h with b's cookies, after the proofs that it takes, and does what the answer
// asks for.
func (b *Browser) Do(h http.Handler, r *http.Request) *http.Response {
	for _, d := range b.lacking(r) {
		b.renew(h, d)
	}
	res := b.send(h, r)
	if offer := res.Header.Get("Secure-Session-Registration"); offer != "" && !b.keyless {
		b.register(h, offer)
	}
	return res
}

// live returns the cookies that have not expired. The caller holds the lock.
func (b *Browser) live() map[string]kept {
	now := b.m.Now()
	maps.DeleteFunc(b.cookies, func(_ string, c kept) bool { return !c.expires.IsZero() && !c.expires.After(now) })
	return b.cookies
}

// lacking returns the bindings whose second cookie r would go without.
func (b *Browser) lacking(r *http.Request) (list []*device) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m.insecure(r) {
		return nil
	}
	live := b.live()
	for _, d := range b.devices {
		in := !slices.ContainsFunc(d.excluded, func(path string) bool { return r.URL.Path == path || strings.HasPrefix(r.URL.Path, path+"/") })
		if _, there := live[d.cookie]; !there && in && (d.anyInitiator || r.Header.Get("Sec-Fetch-Site") != "cross-site") {
			list = append(list, d)
		}
	}
	return list
}

// send sends r as it is, with cookies, and takes those of the answer.
func (b *Browser) send(h http.Handler, r *http.Request) *http.Response {
	b.mu.Lock()
	insecure := b.m.insecure(r)
	for name, c := range b.live() {
		if !c.secure || !insecure {
			r.AddCookie(&http.Cookie{Name: name, Value: c.value})
		}
	}
	b.mu.Unlock()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range res.Cookies() {
		switch {
		case insecure && (c.Secure || b.cookies[c.Name].secure):
		case c.MaxAge < 0:
			delete(b.cookies, c.Name)
		case c.MaxAge > 0:
			b.cookies[c.Name] = kept{c.Value, b.m.Now().Add(time.Duration(c.MaxAge) * time.Second), c.Secure}
		default:
			b.cookies[c.Name] = kept{value: c.Value, secure: c.Secure}
		}
	}
	b.remember(res)
	return res
}

// remember keeps the challenge for the next proof. The caller holds the lock.
func (b *Browser) remember(res *http.Response) {
	challenge, id, ok := strings.Cut(res.Header.Get("Secure-Session-Challenge"), `;id=`)
	if d := b.devices[strings.Trim(id, `"`)]; ok && d != nil {
		d.challenge = strings.Trim(challenge, `"`)
	}
}

// register makes a key and registers it where offer says.
func (b *Browser) register(h http.Handler, offer string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.m.t.Error(err)
		return
	}
	r := b.post(parameter(offer, "path"))
	public, _ := key.PublicKey.Bytes()
	jwk := map[string]string{"crv": "P-256", "kty": "EC", "x": encode(public[1:33]), "y": encode(public[33:])}
	r.Header.Set("Secure-Session-Response", sign(key, map[string]any{"alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk}, parameter(offer, "challenge")))
	res := b.send(h, r)
	if res.StatusCode != http.StatusOK {
		return
	}
	var told struct {
		Identifier string   `json:"session_identifier"`
		Refresh    string   `json:"refresh_url"`
		Initiators []string `json:"allowed_refresh_initiators"`
		Scope      struct {
			Rules []struct {
				Type string `json:"type"`
				Path string `json:"path"`
			} `json:"scope_specification"`
		} `json:"scope"`
		Credentials []struct {
			Name string `json:"name"`
		} `json:"credentials"`
	}
	if err := json.NewDecoder(res.Body).Decode(&told); err != nil || len(told.Credentials) != 1 {
		b.m.t.Errorf("redsessiontest: the answer to a registration is not understood: %v", err)
		return
	}
	d := &device{identifier: told.Identifier, refresh: told.Refresh, cookie: told.Credentials[0].Name, key: key, anyInitiator: slices.Contains(told.Initiators, "*")}
	for _, rule := range told.Scope.Rules {
		if rule.Type == "exclude" {
			d.excluded = append(d.excluded, rule.Path)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.devices[d.identifier] = d
	b.remember(res)
}

// renew proves that b has the key of d. Of several requests at once one does so.
func (b *Browser) renew(h http.Handler, d *device) {
	b.mu.Lock()
	if under, ok := b.proving[d.identifier]; ok {
		b.mu.Unlock()
		<-under
		return
	}
	done := make(chan struct{})
	b.proving[d.identifier] = done
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.proving, d.identifier)
		close(done)
	}()
	for range 5 {
		r := b.post(d.refresh)
		r.Header.Set("Sec-Secure-Session-Id", d.identifier)
		b.mu.Lock()
		challenge := d.challenge
		b.mu.Unlock()
		if challenge != "" {
			r.Header.Set("Secure-Session-Response", sign(d.key, map[string]any{"alg": "ES256", "typ": "dbsc+jwt"}, challenge))
		}
		switch res := b.send(h, r); {
		case res.StatusCode == http.StatusForbidden && res.Header.Get("Secure-Session-Challenge") != "":
		case res.StatusCode >= 400 && res.StatusCode < 500:
			b.mu.Lock()
			delete(b.devices, d.identifier)
			b.mu.Unlock()
			return
		default:
			return
		}
	}
	b.mu.Lock()
	delete(b.devices, d.identifier) // too many challenges
	b.mu.Unlock()
}

func (b *Browser) post(path string) *http.Request {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: "/"}
	}
	r := httptest.NewRequest(http.MethodPost, "https://example.com"+u.RequestURI(), bytes.NewReader(nil))
	for name, value := range map[string]string{"Origin": "https://example.com", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"} {
		r.Header.Set(name, value)
	}
	return r
}

// parameter returns a string of a structured field.
func parameter(field, name string) string {
	_, value, _ := strings.Cut(field, name+`="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign makes the token of a proof.
func sign(key *ecdsa.PrivateKey, header map[string]any, challenge string) string {
	h, _ := json.Marshal(header)
	claims, _ := json.Marshal(map[string]string{"jti": challenge})
	text := encode(h) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err) // no randomness
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature[:])
}
