package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v3"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/loginfact"
	"github.com/redsession/redsession/internal/record"
)

// sessionFull is what show prints.
type sessionFull struct {
	sessionLine
	PendingUser  string    `json:"pending_user,omitempty"`
	RotatedAt    string    `json:"rotated_at,omitempty"`
	Deadline     string    `json:"deadline"`
	IdleSeconds  int64     `json:"idle_seconds"`
	ImportedFrom string    `json:"imported_from,omitempty"`
	Verified     *bool     `json:"verified"` // null without secrets
	Encrypted    bool      `json:"encrypted"`
	Data         []dataKey `json:"data"` // null where it cannot be read
}

// dataKey is one value of a session, without the value.
type dataKey struct {
	Key   string `json:"key"`
	Bytes int    `json:"bytes"`
}

func showCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "show", Category: "Sessions", Usage: "show what is known of one session",
		UsageText: "sessionctl show ID",
		Description: `Shows one session: whose, from where, since when, until when, and the keys of
its data with the size of each value. Values are never shown. With
REDSESSION_SECRETS it says whether the record verifies, and looks into encrypted
data.

Examples:
   sessionctl show 5Dk3Zc0mV9y1rJq7wXoT2bLhNfGaEsUp
   sessionctl show --json 5Dk3Zc0mV9y1rJq7wXoT2bLhNfGaEsUp | jq .data

JSON: what list gives, and {"pending_user","rotated_at","deadline",
"idle_seconds","imported_from","verified","encrypted","data":[{"key","bytes"}]}`,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			id, t, err := c.openID(ctx, cmd)
			if err != nil {
				return err
			}
			defer t.close()
			full, err := t.show(ctx, id)
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				return c.printJSON(full)
			}
			return c.facts(full.facts())
		},
	}
}

// openID connects and returns the one argument of cmd, a session's id.
func (c *console) openID(ctx context.Context, cmd *cli.Command) (string, *target, error) {
	id, err := idArgument(cmd)
	if err != nil {
		return "", nil, err
	}
	t, err := c.open(ctx, cmd)
	return id, t, err
}

func idArgument(cmd *cli.Command) (string, error) {
	id := cmd.Args().First()
	switch {
	case cmd.Args().Len() == 0:
		return "", usagef("which session? Give its id, as `sessionctl list` shows it: sessionctl %s ID", cmd.Name)
	case cmd.Args().Len() > 1:
		return "", usagef("%s takes one id, and got %d arguments", cmd.Name, cmd.Args().Len())
	case !keyspace.IsID(id):
		// What was given is not repeated: it may be a cookie.
		return "", usagef("this is no session id: an id has 32 letters, digits, - and _, as `sessionctl list` shows it. (A cookie's value is none.)")
	}
	return id, nil
}

// stored is what lies at an id.
type stored struct {
	raw string
	ttl time.Duration
}

// fetch reads a record. That there is none is an error which says why.
func (t *target) fetch(ctx context.Context, id string) (stored, error) {
	pipe := t.client.Pipeline()
	get, ttl := pipe.Get(ctx, t.prefix+id), pipe.PTTL(ctx, t.prefix+id)
	if _, err := pipe.Exec(ctx); err != nil && get.Err() == nil && ttl.Err() == nil {
		return stored{}, err // nothing was sent
	}
	if errors.Is(get.Err(), redis.Nil) {
		return stored{}, fmt.Errorf("there is no session %s under the prefix %q: it has ended or expired, or the prefix is another", id, t.prefix)
	}
	if err := errors.Join(get.Err(), ttl.Err()); err != nil {
		return stored{}, err
	}
	switch head := record.PeekHead(get.Val()); {
	case head.Leads() != "":
		return stored{}, fmt.Errorf("session %s was rotated and goes on as %s", id, head.Next)
	case head.Kind == record.LoggedIn:
		return stored{}, fmt.Errorf("session %s has ended: a login put %s in its place", id, head.Next)
	case head.Kind.Tombstone():
		return stored{}, fmt.Errorf("session %s has just ended", id)
	}
	return stored{get.Val(), ttl.Val()}, nil
}

func (t *target) show(ctx context.Context, id string) (sessionFull, error) {
	found, err := t.fetch(ctx, id)
	if err != nil {
		return sessionFull{}, err
	}
	rec, err := record.Decode(found.raw)
	if err != nil {
		return sessionFull{}, fmt.Errorf("what lies under the id %s is no session record: it was planted or damaged; `sessionctl revoke` removes it", id)
	}
	full := sessionFull{Encrypted: encrypted(found.raw)}
	if len(t.env.Secrets) > 0 {
		verified, opened, err := t.verify(id, found.raw)
		if err != nil {
			return sessionFull{}, err
		}
		full.Verified = &verified
		if verified {
			rec = opened
		}
	}
	full.describe(id, found, rec, time.Now())
	if !full.Encrypted || full.Verified != nil && *full.Verified {
		full.Data = []dataKey{}
		for _, f := range rec.Fields() {
			full.Data = append(full.Data, dataKey{f.Name, len(f.Raw)})
		}
	}
	return full, nil
}

// verify checks the seal with the secrets and decrypts the data.
func (t *target) verify(id, raw string) (bool, *record.Record, error) {
	ring, err := record.NewRing(t.env.Secrets)
	if err != nil {
		return false, nil, err
	}
	rec, _, err := record.Open(ring, t.prefix+id, raw)
	return err == nil && rec != nil, rec, nil
}

// encrypted tells whether a record's data are encrypted: then they are one string.
func encrypted(raw string) bool {
	var r struct {
		Data json.RawMessage `json:"d"`
	}
	return json.Unmarshal([]byte(raw), &r) == nil && len(r.Data) > 0 && r.Data[0] == '"'
}

// describe takes over what the record says.
func (f *sessionFull) describe(id string, found stored, rec *record.Record, now time.Time) {
	var auth, rotated time.Time
	if rec.Auth != 0 {
		auth = time.UnixMicro(rec.Auth)
	}
	if rec.Issued != 0 {
		rotated = time.Unix(rec.Issued, 0)
	}
	created := time.Unix(rec.Created, 0)
	seen := now.Add(found.ttl - time.Duration(rec.Idle)*time.Second) // too early where the deadline cut the TTL short
	for _, t := range []time.Time{created, auth, time.Unix(rec.Written, 0)} {
		if t.After(seen) {
			seen = t
		}
	}
	f.sessionLine = sessionLine{
		ID: id, RemoteAddr: rec.RemoteAddr, UserAgent: rec.UserAgent, CreatedAt: stamp(created), AuthTime: stamp(auth),
		LastSeen: stamp(seen), ExpiresAt: stamp(now.Add(found.ttl)), TTLSeconds: int64(found.ttl / time.Second), Bytes: len(found.raw),
	}
	if rec.LoggedIn() {
		f.User = rec.User
	} else {
		f.PendingUser = rec.User
	}
	f.RotatedAt, f.Deadline = stamp(rotated), stamp(time.Unix(rec.Deadline, 0))
	f.IdleSeconds, f.ImportedFrom = rec.Idle, rec.Source
	f.Label, f.Actor = rec.Label, rec.Actor
	if rec.LoggedIn() {
		f.Level = loginfact.Parse(rec.Proved).Level
	}
}

// facts is what people read, in the order in which they ask.
func (f sessionFull) facts() [][2]string {
	list := [][2]string{{"id", f.ID}}
	add := func(name, value string) {
		if value != "" {
			list = append(list, [2]string{name, clean(value)})
		}
	}
	switch {
	case f.PendingUser != "":
		add("user", "nobody yet: "+f.PendingUser+" has given the password, the second factor is missing")
	case f.User == "":
		add("user", "nobody has logged in")
	default:
		add("user", f.User)
	}
	add("acting as that user", f.Actor)
	add("label", f.Label)
	add("assurance level", level(f.Level))
	add("remote address", f.RemoteAddr)
	add("user agent", f.UserAgent)
	add("created", f.CreatedAt)
	add("logged in", f.AuthTime)
	add("rotated", f.RotatedAt)
	add("last seen", f.LastSeen)
	add("expires", fmt.Sprintf("%s, in %s, if no request comes", f.ExpiresAt, span(time.Duration(f.TTLSeconds)*time.Second)))
	add("ends at the latest", f.Deadline)
	add("idle timeout", span(time.Duration(f.IdleSeconds)*time.Second))
	add("imported from", f.ImportedFrom)
	add("size", humanize.Comma(int64(f.Bytes))+" bytes")
	add("seal", f.seal())
	switch {
	case f.Data == nil:
		add("data", "encrypted: REDSESSION_SECRETS with the right secret shows the keys")
	case len(f.Data) == 0:
		add("data", "none")
	}
	for _, d := range f.Data {
		add("data", fmt.Sprintf("%s (%s bytes)", d.Key, humanize.Comma(int64(d.Bytes))))
	}
	return list
}

func (f sessionFull) seal() string {
	switch {
	case f.Verified == nil:
		return "not checked: set REDSESSION_SECRETS"
	case *f.Verified && f.Encrypted:
		return "verifies; the data are encrypted"
	case *f.Verified:
		return "verifies"
	}
	return "does NOT verify with these secrets: the record was planted or altered, or the secrets are others"
}
