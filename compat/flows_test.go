package compat_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/a-h/templ"
	"github.com/coder/websocket"
	"github.com/go-webauthn/webauthn/webauthn"
	gorillaws "github.com/gorilla/websocket"
	r3labs "github.com/r3labs/sse/v2"
	"github.com/tmaxmax/go-sse"
	"golang.org/x/oauth2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/redsession/redsession"
)

// flow is what a library does with a session over more than one request, or in a way of its
// own. mount makes the program, and try plays the client: it returns ok, or what was seen.
type flow struct {
	name, what string
	over       int // how many of protocols have it, as websockets are HTTP/1.1's; 0 for all
	mount      func(t *testing.T, m *redsession.Manager) http.Handler
	try        func(c *client, m *redsession.Manager) string
}

var flows = []flow{
	{"coder/websocket", "an upgrade keeps the change before it, and the socket closes with 1008 when the session ends", 1, mountCoder, tryCoder},
	{"gorilla/websocket", "an upgrade keeps the change before it", 1, mountGorillaWS, tryGorillaWS},
	{"tmaxmax/go-sse", "events arrive, and the stream ends with the session", 0, mountSSE, tryEvents},
	{"r3labs/sse", "events arrive, and the stream ends with the session", 2, mountR3labs, tryEvents},
	{"templ", "a component reads the session from its context", 0, mountTempl, tryText("/", "hello alice")},
	{"go-webauthn", "the data of a ceremony are kept in a Key and come back as they were", 0, mountWebauthn, tryText("/verify", "the same")},
	{"x/oauth2", "the state is checked, and the callback logs in", 0, mountOAuth, tryOAuth},
	{"connect", "a procedure sets and gets by its context; an early failure is an error, and so is a late one of a gRPC stream, whose first message arrives while the procedure waits. Connect's own streams end inside the body, before the procedure returns: use `Save` there", 0, mountConnect, tryConnect},
}

func tryText(path, want string) func(*client, *redsession.Manager) string {
	return func(c *client, _ *redsession.Manager) string {
		c.get("/login")
		c.get("/begin")
		got := c.get(path)
		return wants(got, 200, want)
	}
}

// withLogin adds the page that logs alice in.
func withLogin(mux *http.ServeMux, m *redsession.Manager) http.Handler {
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { m.FromContext(r.Context()).Login("alice") })
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		n, _ := number.Get(m.FromContext(r.Context()))
		fmt.Fprint(w, n)
	})
	return m.Handler(mux)
}

func mountCoder(_ *testing.T, m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		number.Update(s, addOne)
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_ = conn.Write(r.Context(), websocket.MessageText, []byte("hello "+s.UserID()))
		select {
		case <-s.Context().Done(): // not passed to the connection, which would end without a code
			_ = conn.Close(websocket.StatusPolicyViolation, "session ended")
		case <-conn.CloseRead(r.Context()).Done():
		}
	})
	return withLogin(mux, m)
}

func tryCoder(c *client, m *redsession.Manager) string {
	c.get("/login")
	conn, _, err := websocket.Dial(c.t.Context(), c.base+"/socket", &websocket.DialOptions{HTTPClient: c.http})
	if err != nil {
		return "no socket"
	}
	defer conn.CloseNow()
	_, text, err := conn.Read(c.t.Context())
	if err != nil || string(text) != "hello alice" {
		return fmt.Sprintf("%q", text)
	}
	if seen := wants(c.get("/get"), 200, "1"); seen != ok {
		return seen
	}
	if _, err := m.RevokeUser(c.t.Context(), "alice"); err != nil {
		return "not revoked"
	}
	_, _, err = conn.Read(c.t.Context())
	if code := websocket.CloseStatus(err); code != websocket.StatusPolicyViolation {
		return fmt.Sprintf("close code %d", code)
	}
	return ok
}

func mountGorillaWS(_ *testing.T, m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	var upgrader gorillaws.Upgrader
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		number.Update(s, addOne)
		if err := s.Save(r.Context()); err != nil {
			http.Error(w, "not kept", http.StatusServiceUnavailable)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.WriteMessage(gorillaws.TextMessage, []byte("hello "+s.UserID()))
	})
	return withLogin(mux, m)
}

func tryGorillaWS(c *client, _ *redsession.Manager) string {
	c.get("/login")
	dialer := gorillaws.Dialer{Jar: c.http.Jar, TLSClientConfig: c.http.Transport.(*http.Transport).TLSClientConfig}
	conn, res, err := dialer.DialContext(c.t.Context(), "wss"+strings.TrimPrefix(c.base, "https")+"/socket", nil)
	if err != nil {
		return "no socket"
	}
	_ = res.Body.Close()
	defer conn.Close()
	_, text, err := conn.ReadMessage()
	if err != nil || string(text) != "hello alice" {
		return fmt.Sprintf("%q", text)
	}
	return wants(c.get("/get"), 200, "1")
}

func mountSSE(_ *testing.T, m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		number.Update(s, addOne)
		session, err := sse.Upgrade(w, r)
		if err != nil {
			http.Error(w, "no stream", http.StatusNotImplemented)
			return
		}
		var hello sse.Message
		hello.AppendData("hello " + s.UserID())
		_ = session.Send(&hello)
		_ = session.Flush()
		<-s.Context().Done()
	})
	return withLogin(mux, m)
}

func mountR3labs(t *testing.T, m *redsession.Manager) http.Handler {
	events := r3labs.New()
	events.AutoReplay = true
	events.CreateStream("news")
	t.Cleanup(events.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		number.Update(s, addOne)
		events.Publish("news", &r3labs.Event{Data: []byte("hello " + s.UserID())})
		r.URL.RawQuery = "stream=news"
		events.ServeHTTP(w, r.WithContext(s.Context()))
	})
	return withLogin(mux, m)
}

func tryEvents(c *client, m *redsession.Manager) string {
	c.get("/login")
	r, _ := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+"/events", nil)
	r.Header.Set("Accept", "text/event-stream")
	res, err := c.http.Do(r)
	if err != nil || res.StatusCode != http.StatusOK {
		return "no stream"
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for line := ""; !strings.Contains(line, "hello alice"); {
		if line, err = lines.ReadString('\n'); err != nil {
			return "no event"
		}
	}
	if seen := wants(c.get("/get"), 200, "1"); seen != ok {
		return seen
	}
	if _, err := m.RevokeUser(c.t.Context(), "alice"); err != nil {
		return "not revoked"
	}
	if _, err = io.Copy(io.Discard, lines); err != nil {
		return "the stream was cut off"
	}
	return ok
}

func mountTempl(_ *testing.T, m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", templ.Handler(templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		s := redsession.FromContext(ctx)
		number.Update(s, addOne)
		_, err := io.WriteString(w, "hello "+s.UserID())
		return err
	})))
	return withLogin(mux, m)
}

// account is a user of the ceremony.
type account struct{}

func (account) WebAuthnID() []byte                         { return []byte("alice's id") }
func (account) WebAuthnName() string                       { return "alice" }
func (account) WebAuthnDisplayName() string                { return "Alice" }
func (account) WebAuthnCredentials() []webauthn.Credential { return nil }

func mountWebauthn(t *testing.T, m *redsession.Manager) http.Handler {
	w, err := webauthn.New(&webauthn.Config{RPID: "localhost", RPDisplayName: "shop", RPOrigins: []string{"https://localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	const ceremony = redsession.Key[webauthn.SessionData]("ceremony")
	var began webauthn.SessionData
	mux := http.NewServeMux()
	mux.HandleFunc("/begin", func(_ http.ResponseWriter, r *http.Request) {
		_, data, err := w.BeginRegistration(account{})
		if err != nil {
			t.Error(err)
			return
		}
		began = *data
		ceremony.Set(m.FromContext(r.Context()), *data)
	})
	mux.HandleFunc("/verify", func(w http.ResponseWriter, r *http.Request) {
		got, _, err := ceremony.Take(r.Context(), m.FromContext(r.Context()))
		got.Expires, began.Expires = got.Expires.UTC(), began.Expires.UTC().Round(0)
		if err == nil && reflect.DeepEqual(got, began) {
			io.WriteString(w, "the same")
			return
		}
		fmt.Fprintf(w, "%+v, not %+v, %v", got, began, err)
	})
	return withLogin(mux, m)
}

func mountOAuth(t *testing.T, m *redsession.Manager) http.Handler {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"of-`+r.FormValue("code")+`","token_type":"Bearer"}`)
			return
		}
		back := r.URL.Query().Get("redirect_uri") + "?code=alice&state=" + url.QueryEscape(r.URL.Query().Get("state"))
		http.Redirect(w, r, back, http.StatusFound)
	}))
	t.Cleanup(provider.Close)
	config := oauth2.Config{ClientID: "shop", Endpoint: oauth2.Endpoint{AuthURL: provider.URL + "/authorize", TokenURL: provider.URL + "/token"}}
	const state, verifier = redsession.Key[string]("state"), redsession.Key[string]("verifier")
	mux := http.NewServeMux()
	mux.HandleFunc("/start", func(w http.ResponseWriter, r *http.Request) {
		s, one, proof := m.FromContext(r.Context()), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
		state.Set(s, one)
		verifier.Set(s, proof)
		here := config
		here.RedirectURL = "https://" + r.Host + "/callback"
		http.Redirect(w, r, here.AuthCodeURL(one, oauth2.S256ChallengeOption(proof)), http.StatusFound)
	})
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		want, there, err := state.Take(r.Context(), s)
		proof, _ := verifier.Get(s)
		if err != nil || !there || want != r.FormValue("state") {
			http.Error(w, "not your login", http.StatusForbidden)
			return
		}
		token, err := config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(proof))
		if err != nil {
			http.Error(w, "no token", http.StatusBadGateway)
			return
		}
		verifier.Delete(s)
		s.Login(strings.TrimPrefix(token.AccessToken, "of-"))
		io.WriteString(w, "welcome "+s.UserID())
	})
	return withLogin(mux, m)
}

func tryOAuth(c *client, _ *redsession.Manager) string {
	start := c.get("/start")
	answer, err := http.DefaultTransport.RoundTrip(httptest.NewRequest(http.MethodGet, start.header.Get("Location"), nil))
	if err != nil {
		return "no provider"
	}
	_ = answer.Body.Close()
	back, err := url.Parse(answer.Header.Get("Location"))
	if err != nil {
		return "no way back"
	}
	if got := c.fresh().get(back.RequestURI()); got.status != http.StatusForbidden {
		return "another browser may come back"
	}
	if seen := wants(c.get(back.RequestURI()), 200, "welcome alice"); seen != ok {
		return seen
	}
	if got := c.get(back.RequestURI()); got.status != http.StatusForbidden {
		return "the state is good twice"
	}
	return ok
}

const cart = "/shop.v1.Cart/"

type (
	empty    = connect.Request[emptypb.Empty]
	number32 = wrapperspb.Int32Value
)

func mountConnect(_ *testing.T, m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(cart+"Count", connect.NewUnaryHandler(cart+"Count", func(ctx context.Context, _ *empty) (*connect.Response[number32], error) {
		s := redsession.FromContext(ctx)
		if !s.LoggedIn() {
			return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("please log in"))
		}
		number.Update(s, addOne)
		n, _ := number.Get(s)
		return connect.NewResponse(wrapperspb.Int32(int32(n))), nil
	}))
	mux.Handle(cart+"Early", connect.NewUnaryHandler(cart+"Early", func(ctx context.Context, _ *empty) (*connect.Response[number32], error) {
		changeAfterEnd(m, redsession.FromContext(ctx))
		return connect.NewResponse(wrapperspb.Int32(1)), nil
	}))
	mux.Handle(cart+"Watch", connect.NewServerStreamHandler(cart+"Watch", func(ctx context.Context, r *empty, out *connect.ServerStream[number32]) error {
		if err := out.Send(wrapperspb.Int32(1)); err != nil {
			return err
		}
		pass(ctx, r.Header().Get("X-Gate"))
		changeAfterEnd(m, redsession.FromContext(ctx))
		return nil
	}))
	return withLogin(mux, m)
}

func tryConnect(c *client, _ *redsession.Manager) string {
	ask := connect.NewRequest(&emptypb.Empty{})
	count := connect.NewClient[emptypb.Empty, number32](c.http, c.base+cart+"Count")
	if _, err := count.CallUnary(c.t.Context(), ask); connect.CodeOf(err) != connect.CodeUnauthenticated {
		return "a stranger is let in"
	}
	c.get("/login")
	for want := int32(1); want < 3; want++ {
		res, err := count.CallUnary(c.t.Context(), ask)
		if err != nil || res.Msg.Value != want {
			return fmt.Sprintf("%v, %v", res, err)
		}
	}
	early := connect.NewClient[emptypb.Empty, number32](c.http, c.base+cart+"Early")
	if _, err := early.CallUnary(c.t.Context(), ask); err == nil {
		return "an early failure is a success"
	}
	return watch(c)
}

// watch lets a gRPC stream go on once its first message is here. Its status is in the
// trailers, which are sent after the last commit.
func watch(c *client) string {
	c.get("/login")
	gate := make(chan struct{})
	gates.Store(c.base, gate)
	defer gates.Delete(c.base)
	ask := connect.NewRequest(&emptypb.Empty{})
	ask.Header().Set("X-Gate", c.base)
	stream, err := connect.NewClient[emptypb.Empty, number32](c.http, c.base+cart+"Watch", connect.WithGRPC()).CallServerStream(c.t.Context(), ask)
	if err != nil || !stream.Receive() {
		close(gate)
		return "no stream"
	}
	defer stream.Close()
	close(gate)
	for stream.Receive() {
	}
	if stream.Err() == nil {
		return "a late failure is a success"
	}
	return ok
}
