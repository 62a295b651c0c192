package importer

import (
	"cmp"
	"context"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/importer/internal/php"
)

// PHPFormat is PHP's session.serialize_handler.
type PHPFormat int

// The formats. PHPAuto finds out for each file.
const (
	PHPAuto      = PHPFormat(php.Auto)
	PHPSession   = PHPFormat(php.Session)
	PHPSerialize = PHPFormat(php.Serialize)
	PHPBinary    = PHPFormat(php.Binary)
)

// PHPFolder is PHP's session.save_path. Make it with PHPFiles.
type PHPFolder struct {
	Common // Lifetime is PHP's session.gc_maxlifetime, 24 minutes unless set, from the file's last change
	Dir    string
	Format PHPFormat
	// Persistent tells of a session.cookie_lifetime other than 0: the cookie
	// survives the browser.
	Persistent bool
	// Levels is the N of a save_path "N;/path", whose files lie in N levels of
	// folders. Only Adopt needs it.
	Levels int
}

// PHPFiles returns the sessions in PHP's session.save_path, such as
// /var/lib/php/sessions. Nobody counts as logged in unless UserID says so:
// which variable tells is the application's business. Sessions with objects are
// counted as Unsafe. Arrays whose keys are 0, 1, 2, … become lists, so that an
// empty array is a list.
func PHPFiles(dir string) *PHPFolder { return &PHPFolder{Dir: dir} }

// Name is "php".
func (p *PHPFolder) Name() string { return cmp.Or(p.Label, "php") }

// Sessions walks over the folder and the folders of one character in it.
func (p *PHPFolder) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return files(ctx, p.Dir, p)
}

// Adopt takes over the sessions of this folder live. The cookie's name is PHP's
// session.name, PHPSESSID if it is empty.
func (p *PHPFolder) Adopt(cookie string) redsession.Legacy {
	return adoptFiles(p.Dir, p, redsession.Legacy{Source: p.Name(), Cookie: cmp.Or(cookie, "PHPSESSID"), Verify: rawID(isPHPID)})
}

func (p *PHPFolder) files(id string) []string {
	if !isPHPID(id) {
		return nil
	}
	levels := min(max(p.Levels, 0), maxPHPLevels)
	return []string{path.Join(path.Join(strings.Split(id[:levels], "")...), phpPrefix+id)}
}

const (
	phpPrefix    = "sess_"
	maxPHPLevels = 8
)

// isPHPID knows session.sid_length 22 to 256 with 4 to 6 bits a character.
func isPHPID(id string) bool {
	return form(id, 22, 256, func(c byte) bool { return isDigit(c) || isLower(c) || isUpper(c) || c == ',' || c == '-' })
}

func (p *PHPFolder) enter(dir string) bool {
	name := path.Base(dir)
	return len(name) == 1 && strings.Count(dir, "/") < maxPHPLevels
}

func (p *PHPFolder) id(file string) (string, Reason) {
	dir, name := path.Split(file)
	id, ok := strings.CutPrefix(name, phpPrefix)
	switch {
	case !ok:
		return "", Foreign
	case !isPHPID(id):
		return "", BadID
	case !strings.HasPrefix(id, strings.ReplaceAll(dir, "/", "")):
		return "", Foreign // PHP would not find it there
	}
	return id, ""
}

func (p *PHPFolder) decode(id string, data []byte, written time.Time) (redsession.LegacyRecord, []string, error) {
	rec := redsession.LegacyRecord{
		Source: p.Name(), ID: id, Persistent: p.Persistent, ExpiresAt: lives(written, cmp.Or(p.Lifetime, 24*time.Minute)),
	}
	values, err := php.Decode(data, php.Format(p.Format))
	if err != nil {
		return rec, nil, explain(err)
	}
	return p.finish(rec, values)
}
