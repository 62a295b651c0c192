package importer

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/pickle"
	"github.com/redsession/redsession/importer/internal/plain"
)

// OdooFolder is Odoo's session folder, of any version: JSON (17.2 and later) and
// pickle (before). Make it with Odoo.
type OdooFolder struct {
	Common // Lifetime is 7 days unless set, from the file's last change
	Dir    string
}

// Odoo returns the sessions in Odoo's folder, most often
// ~/.local/share/Odoo/sessions. The user is `uid`, in decimal, if there is a
// session_token. All keys are kept. Pickles that hold more than plain data, such
// as a datetime, are counted as Unsafe: reading them means running code.
func Odoo(dir string) *OdooFolder { return &OdooFolder{Dir: dir} }

// Name is "odoo".
func (o *OdooFolder) Name() string { return cmp.Or(o.Label, "odoo") }

// Sessions walks over the folder.
func (o *OdooFolder) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return files(ctx, o.Dir, o)
}

// Adopt takes over the sessions of this folder live, by the cookie session_id.
func (o *OdooFolder) Adopt() redsession.Legacy {
	return adoptFiles(o.Dir, o, redsession.Legacy{Source: o.Name(), Cookie: "session_id", Verify: rawID(isOdooID)})
}

func (o *OdooFolder) files(id string) []string {
	if !isOdooID(id) {
		return nil
	}
	return []string{path.Join(id[:2], id), odooFlatPrefix + id + odooFlatSuffix}
}

// Until Odoo 15 all files lay in one folder under such names.
const (
	odooFlatPrefix = "werkzeug_"
	odooFlatSuffix = ".sess"
)

func isOdooOldID(id string) bool { return form(id, 40, 40, isHex) }

// isOdooID knows 40 hex digits (until 17), and 84 (18, 19) or 86 characters of
// base64url.
func isOdooID(id string) bool { return isOdooOldID(id) || form(id, 84, 86, isBase64URL) }

func (o *OdooFolder) enter(dir string) bool { return form(dir, 2, 2, isBase64URL) }

func (o *OdooFolder) id(file string) (string, Reason) {
	dir, name := path.Split(file)
	if strings.HasSuffix(name, ".__wz_sess") || strings.HasSuffix(name, ".__tx_sess__") {
		return "", Temporary
	}
	if dir == "" {
		id, ok := strings.CutPrefix(name, odooFlatPrefix)
		id, ends := strings.CutSuffix(id, odooFlatSuffix)
		switch {
		case !ok || !ends:
			return "", Foreign
		case !isOdooOldID(id):
			return "", BadID
		}
		return id, ""
	}
	switch {
	case name[:min(2, len(name))]+"/" != dir:
		return "", Foreign // Odoo would not find it there
	case !isOdooID(name):
		return "", BadID
	}
	return name, ""
}

func (o *OdooFolder) decode(id string, data []byte, written time.Time) (redsession.LegacyRecord, []string, error) {
	rec := redsession.LegacyRecord{Source: o.Name(), ID: id, ExpiresAt: lives(written, cmp.Or(o.Lifetime, odooLifetime))}
	return o.odoo(rec, data)
}

const odooLifetime = 7 * 24 * time.Hour

// odoo completes rec by the values that Odoo wrote.
func (c *Common) odoo(rec redsession.LegacyRecord, data []byte) (_ redsession.LegacyRecord, notes []string, err error) {
	var decoded any
	if len(data) > 0 && data[0] == '{' {
		decoded, err = plain.JSON(data)
	} else {
		decoded, err = pickle.Decode(data)
	}
	if err != nil {
		return rec, nil, explain(err)
	}
	values, notes, err := plain.Map(untagged(decoded))
	if err != nil {
		return rec, nil, explain(err)
	}
	switch {
	case values["next_sid"] != nil, values["deletion_time"] != nil:
		return rec, nil, skip(Predecessor)
	case values["pre_uid"] != nil:
		return rec, nil, skip(HalfOpen)
	}
	rec.Values, rec.CreatedAt, rec.Persistent = values, unixTime(values["create_time"]), true
	if token, _ := values["session_token"].(string); token != "" {
		rec.UserID = decimal(values["uid"])
	}
	return c.user(rec), notes, nil
}

// decimal returns a positive whole number as text, and "" for anything else.
func decimal(v any) string {
	switch v := v.(type) {
	case int64:
		if v > 0 {
			return strconv.FormatInt(v, 10)
		}
	case json.Number:
		return v.String()
	}
	return ""
}

// unixTime returns the moment of a number of seconds, and zero for anything else.
func unixTime(v any) time.Time {
	var seconds float64
	switch v := v.(type) {
	case int64:
		seconds = float64(v)
	case float64:
		seconds = v
	}
	if seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9))
}

// lives returns the end of a session that was last used then. A file from the
// future, of a clock that was wrong, counts as used now.
func lives(used time.Time, lifetime time.Duration) time.Time {
	if now := time.Now(); used.After(now) {
		used = now
	}
	return used.Add(lifetime)
}
