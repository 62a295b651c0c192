//lint:file-ignore ST1005 a mistake begins with the name of the field that it is in

package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/environ"
	"github.com/redsession/redsession/internal/redisurl"
)

// Config says where sessions live and how. The zero value of every field but
// the connection and the secrets is a safe default; what lowers security has
// Insecure in its name. New checks the whole Config and reports every mistake.
type Config struct {
	// URL names the Redis to use: redis://, rediss:// (TLS), unix://,
	// redis+cluster:// and rediss+cluster:// with several hosts, or
	// redis+sentinel:// and rediss+sentinel:// with the sentinels' hosts and the
	// master's name as path; with user, password, database and go-redis's query
	// options. With TLS also ca, cert, key (PEM files) and server_name.
	URL string
	// Client is used instead of URL. It stays the caller's to close. Set its
	// ContextTimeoutEnabled: without, each command takes a goroutine more, and on a
	// frozen Redis one that stays until the client's own timeouts.
	// Connections of it that lead nowhere, as after a NAT forgot them, cost a wait of
	// RedisTimeout each until its pool is rid of them. Those made for URL are closed when an
	// outage begins, and idle ones are looked at before use, with TLS too.
	Client redis.UniversalClient
	// Prefix begins every key, "session:" unless set. It keeps environments,
	// tenants and versions apart.
	Prefix string
	// Secrets sign cookies and seal records, newest first; each has at least 32
	// bytes from a cryptographic source (OWASP ASVS 11.5.1). Old ones still
	// verify. To rotate, first add the new secret last on every server, then move
	// it to the front.
	Secrets [][]byte

	// IdleTimeout ends a session that long after its last request: 7 days unless
	// set. Every hit starts it again (OWASP ASVS 7.3.1).
	IdleTimeout time.Duration
	// AnonymousTimeout is the idle timeout of sessions that nobody has logged in
	// to: 3 hours, and at most IdleTimeout.
	AnonymousTimeout time.Duration
	// AbsoluteTimeout ends a session that long after its login, or its creation:
	// 30 days unless set. Activity never extends it (OWASP ASVS 7.3.2, NIST SP
	// 800-63B); Session.Extend does. An IdleTimeout longer than one that is set is refused.
	AbsoluteTimeout time.Duration
	// Assurance sets the timeouts that are not set to those of an authentication assurance
	// level (NIST SP 800-63B-4), and refuses longer ones: none unless set.
	Assurance Assurance
	// Passive tells which requests a page sends by itself, such as those that poll: they
	// keep no absent user logged in. They read a session, by GET and PTTL in one round trip,
	// and prolong nothing; what they write leaves it the time that it had; none is the one
	// that gets a new id by time. ExpiresAt is then exact. A Login is a beginning all the
	// same. Nil means none. It must be safe for concurrent use.
	Passive func(*http.Request) bool
	// RotateEvery gives a logged-in session a new id that often, 3 hours unless
	// set; negative means never.
	RotateEvery time.Duration
	// RotateGrace is how long a rotated id still leads to its successor once the
	// successor is in use, and how long an ended id is told apart from an unknown
	// one: 60 seconds unless set.
	RotateGrace time.Duration
	// OnReplay says what happens when a rotated id comes after its grace: RefuseReplay
	// unless set, and EndSession with Assurance AAL2 and above.
	OnReplay ReplayPolicy

	// Cookie shapes the cookie.
	Cookie Cookie
	// Header, if set, names a request and response header that carries the same
	// signed value as the cookie, for API and mobile clients. It wins over the
	// cookie. A request with a browser's Fetch Metadata is never given it, as scripts
	// could read it there.
	Header string

	// UserStamp returns anything that changes when the user's credentials change,
	// such as the password's hash or a counter. A session whose stamp differs from
	// the one at login ends at its next request. It runs at Login and on every hit of
	// a user's session and must be safe for concurrent use; an error answers
	// ErrUnavailable and logs nobody out. RedisTimeout does not bound it: it should
	// have a timeout of its own.
	UserStamp func(ctx context.Context, user string) (string, error)
	// LoadUser loads a user, once a request, for the handler, which gets it from UserAs, and
	// for the stamp, which is that of UserStamp: set one of the two. Return ErrNoUser for a
	// user who was deleted: the session ends at this request. Any other error answers
	// ErrUnavailable and logs nobody out, as do a nil user and a nil pointer without an error.
	// "" is a stamp like any other: return it always if there is nothing to compare.
	//
	// It runs on every hit of a user's session, a half-open one too (UserAs knows no user
	// there), also while Redis is away; again at Login; and for who acts as a user (see By). It
	// does not run for anonymous and locked sessions. It must be safe for concurrent use.
	// RedisTimeout does not bound it: it should have a timeout of its own. What it returns is
	// kept for the request, in memory alone.
	LoadUser func(ctx context.Context, id string) (user any, stamp string, err error)
	// MaxPerUser ends a user's oldest logins beyond that number. 0 is no limit. Half-open
	// logins do not count.
	MaxPerUser int
	// RefuseAtLimit refuses a login beyond MaxPerUser in place of ending the oldest: the
	// commit is ErrTooManySessions, and the session is half-open. See Session.AtLimit.
	RefuseAtLimit bool
	// MaxBytes bounds what handlers store in one session, as JSON: 64 KiB unless set; more
	// is ErrTooLarge, and nothing is stored. What the package itself keeps has room besides.
	MaxBytes int
	// Encrypt keeps the values in Redis under AES-256-GCM.
	Encrypt bool

	// DeviceBinding makes a copied cookie useless in browsers that can.
	DeviceBinding DeviceBinding

	// Outage says what happens to requests while Redis cannot be reached.
	Outage OutagePolicy
	// OutageWait is how long a request that cannot go on without Redis waits for it while an
	// outage is young: 5 seconds unless set; negative means that nobody waits. Keep it below
	// the server's WriteTimeout. Writes wait inside the handler's first Write.
	OutageWait time.Duration
	// OutageMaxStale is how old the last-known state of a session may be to be
	// served during an outage: 5 minutes unless set.
	OutageMaxStale time.Duration
	// RedisTimeout bounds all Redis work of one load, and of one commit, retries
	// included: 500 ms unless set. Who waits for the end of an outage has it twice, before
	// and after.
	RedisTimeout time.Duration

	// TrustedHops is how many proxies stand in front of the program. That many
	// entries of X-Forwarded-For are believed, from the right, for the remote
	// address kept with a login. 0 uses the connection's own address, as does an entry that
	// is no address.
	TrustedHops int
	// Skip tells which requests need no session.
	Skip func(*http.Request) bool
	// Adopt lists other packages' sessions to take over live.
	Adopt []Legacy

	// Logger gets one line for each event; slog.Default() unless set.
	Logger *slog.Logger
	// OnEvent is called for each event, in the request's goroutine where there is one, after
	// what it tells of is settled: it may use the session. It must be fast and safe for
	// concurrent use, and not panic: some events come from background work, where that ends
	// the program.
	OnEvent func(context.Context, Event)
	// ErrorHandler answers a request whose session could not be loaded or
	// committed. Find the reason with errors.Is; do not show err.Error() to the
	// client. The default answers 409 (ErrGone, ErrTooManySessions), 503 with Retry-After
	// (ErrUnavailable) or 500. The request's context has the session: an empty one if it
	// could not be loaded, whose Save returns the same error. What is changed here is
	// kept by Save alone, as far as it needs no new cookie. When the response had already begun, the error is
	// also ErrHeadersSent, writes go nowhere, and the connection is cut afterwards
	// so that the client does not take the response for a success.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)
	// Unauthorized answers what RequireLogin and RequireRecentLogin refuse: 401
	// unless set.
	Unauthorized http.Handler
	// Forbidden answers requests that may not do what they ask for, whoever is logged in: what
	// CSRF refuses, and those of a device that has not proved itself. 403 unless set. It gets
	// the request as it came; the reason is in an event.
	Forbidden http.Handler
	// Trace is called around loads, commits and exchanges with Redis; adapters/otel has one
	// for OpenTelemetry. Without it nothing of it costs anything.
	Trace Trace
	// Now is the clock; time.Now unless set.
	Now func() time.Time
}

// Format writes what may be shown: neither the secrets nor the password in URL. It does so
// for every verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.shown()) }

// GoString is what may be shown.
func (c Config) GoString() string { return c.shown() }

// LogValue is what may be shown.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.shown()) }

func (c Config) shown() string {
	where := "a client of the program's"
	if c.Client == nil {
		where = redisurl.Redacted(c.URL)
	}
	return fmt.Sprintf("redsession.Config{%s, prefix %q, %d secrets, idle %s, absolute %s}", where, c.Prefix, len(c.Secrets), c.IdleTimeout, c.AbsoluteTimeout)
}

// OutagePolicy says what happens while Redis cannot be reached.
type OutagePolicy int

const (
	// ServeKnown reads sessions that Redis confirmed to this process within
	// Config.OutageMaxStale from memory. All else, changes to these among it, waits for
	// Redis for up to Config.OutageWait and is then ErrUnavailable.
	ServeKnown OutagePolicy = iota
	// FailClosed reads nothing from memory: every request that needs Redis waits for it, and
	// is then ErrUnavailable.
	FailClosed
)

// Defaults of Config.
const (
	defaultPrefix       = "session:"
	defaultIdle         = 7 * 24 * time.Hour
	defaultAnonymous    = 3 * time.Hour
	defaultAbsolute     = 30 * 24 * time.Hour
	defaultRotateEvery  = 3 * time.Hour
	defaultRotateGrace  = time.Minute
	defaultMaxBytes     = 64 << 10
	defaultOutageWait   = 5 * time.Second
	defaultMaxStale     = 5 * time.Minute
	defaultRedisTimeout = 500 * time.Millisecond
	mostTime            = 100 * 365 * 24 * time.Hour // well within what int64 nanoseconds hold
	mostWait            = 5 * time.Minute
)

// withDefaults fills the fields that are zero.
func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	c = c.withLifetimes()
	c.RotateEvery = cmp.Or(c.RotateEvery, defaultRotateEvery)
	c.RotateGrace = cmp.Or(c.RotateGrace, defaultRotateGrace)
	c.OnReplay = c.OnReplay.or(c.Assurance)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultMaxBytes)
	c.OutageWait = cmp.Or(c.OutageWait, defaultOutageWait)
	c.OutageMaxStale = cmp.Or(c.OutageMaxStale, defaultMaxStale)
	c.RedisTimeout = cmp.Or(c.RedisTimeout, defaultRedisTimeout)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.Cookie = c.Cookie.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ErrorHandler == nil {
		c.ErrorHandler = answerError
	}
	if c.Forbidden == nil {
		c.Forbidden = http.HandlerFunc(answerForbidden)
	}
	c.DeviceBinding = c.DeviceBinding.withDefaults()
	if c.Unauthorized == nil {
		c.Unauthorized = http.HandlerFunc(answerUnauthorized)
	}
	return c
}

// check reports every mistake of a Config that has its defaults.
func (c Config) check() error {
	return errors.Join(c.checkConnection(), c.checkSecrets(), c.checkTimes(), c.checkLimits(), c.Cookie.check(), c.checkUsers(), checkHeader(c.Header), c.checkAdopt(), c.checkBinding())
}

func (c Config) checkConnection() error {
	var errs []error
	switch {
	case c.URL == "" && c.Client == nil:
		errs = append(errs, errors.New(`Config.URL is empty: set it, or REDSESSION_URL with ConfigFromEnv, for example to "redis://localhost:6379/0"; or set Client`))
	case c.URL != "" && c.Client != nil:
		errs = append(errs, errors.New("Config.URL and Config.Client are both set: set one of them"))
	}
	if i := strings.IndexFunc(c.Prefix, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		errs = append(errs, errors.New("Config.Prefix has a space or a control character"))
	}
	if len(c.Prefix) > 256 {
		errs = append(errs, fmt.Errorf("Config.Prefix has %d bytes: every key carries it, keep it under 256", len(c.Prefix)))
	}
	return errors.Join(errs...)
}

func (c Config) checkSecrets() error {
	if len(c.Secrets) == 0 {
		return errors.New("Config.Secrets is empty: make one secret with `openssl rand -base64 32` and give it to every server, with ConfigFromEnv as REDSESSION_SECRETS")
	}
	var errs []error
	for i, s := range c.Secrets {
		if len(s) < environ.MinSecretLen {
			errs = append(errs, fmt.Errorf("Config.Secrets[%d] has %d bytes, want at least %d: make one with `openssl rand -base64 32`", i, len(s), environ.MinSecretLen))
		}
	}
	return errors.Join(errs...)
}

func (c Config) checkLimits() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxPerUser", c.MaxPerUser}, {"MaxBytes", c.MaxBytes}, {"TrustedHops", c.TrustedHops}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("Config.%s is %d, want 0 for the default, or more", f.name, f.value))
		}
	}
	if c.RefuseAtLimit && c.MaxPerUser == 0 {
		errs = append(errs, errors.New("Config.RefuseAtLimit needs MaxPerUser, the limit"))
	}
	if c.Outage != ServeKnown && c.Outage != FailClosed {
		errs = append(errs, fmt.Errorf("Config.Outage is %d, want ServeKnown or FailClosed", c.Outage))
	}
	if c.OnReplay != RefuseReplay && c.OnReplay != EndSession {
		errs = append(errs, fmt.Errorf("Config.OnReplay is %d, want RefuseReplay or EndSession", c.OnReplay))
	}
	return errors.Join(errs...)
}

// ConfigFromEnv reads REDSESSION_URL, REDSESSION_PREFIX, REDSESSION_EXPIRATION
// (the idle timeout) and REDSESSION_ABSOLUTE (seconds or a Go duration),
// REDSESSION_SECRETS (comma-separated base64 or hex, newest first),
// REDSESSION_COOKIE (its name) and REDSESSION_INSECURE (true for plain HTTP in
// development, which excludes Cookie.InsecureWhen). A variable that is unset or empty leaves its field zero.
//
// REDSESSION_URL_FILE and REDSESSION_SECRETS_FILE name files to read instead, as platforms mount
// secrets; in that of the secrets, lines do as commas. They are read once, at most 64 KiB, and
// white space around their text is ignored. Together with the variable itself, and if the file is
// unreadable or empty, they are errors. Errors name the variable, and the file, and never the secret.
func ConfigFromEnv() (Config, error) {
	c := Config{
		Prefix: environ.Text("REDSESSION_PREFIX"),
		Cookie: Cookie{Name: environ.Text("REDSESSION_COOKIE")},
	}
	var errs [5]error
	c.IdleTimeout, errs[0] = environ.Duration("REDSESSION_EXPIRATION")
	c.AbsoluteTimeout, errs[1] = environ.Duration("REDSESSION_ABSOLUTE")
	c.Secrets, errs[2] = environ.Secrets("REDSESSION_SECRETS")
	c.Cookie.InsecurePlainHTTP, errs[3] = environ.Bool("REDSESSION_INSECURE")
	c.URL, errs[4] = environ.Line("REDSESSION_URL")
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("redsession: %w", err)
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Config{}, err
	}
	return c, nil
}
