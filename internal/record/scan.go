package record

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// scanner reads the JSON that this package writes, one token after the other,
// without copying: strings that it returns are parts of src. It is strict about
// structure and never reads past the end, whatever src holds.
type scanner struct {
	src string
	pos int
	bad bool
}

func (s *scanner) fail() { s.bad, s.pos = true, len(s.src) }

func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

// accept steps over c if it comes next.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c || s.bad {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) expect(c byte) {
	if !s.accept(c) {
		s.fail()
	}
}

// quoted returns the JSON string that comes next, quotes included.
func (s *scanner) quoted() string {
	src, start := s.src, s.pos
	if s.expect('"'); s.bad {
		return ""
	}
	for i := s.pos; i < len(src); i++ {
		switch c := src[i]; {
		case c == '"':
			s.pos = i + 1
			return src[start:s.pos]
		case c == '\\':
			i++
		case c < 0x20:
			s.fail()
			return ""
		}
	}
	s.fail()
	return ""
}

// text returns the value of the JSON string that comes next.
func (s *scanner) text() string {
	q := s.quoted()
	if s.bad {
		return ""
	}
	v, ok := unquote(q)
	if !ok {
		s.fail()
	}
	return v
}

// word returns the JSON string that comes next, which has characters of base64url
// alone.
func (s *scanner) word() string {
	q := s.quoted()
	if s.bad {
		return ""
	}
	w := q[1 : len(q)-1]
	for i := range len(w) {
		if c := w[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			s.fail()
			return ""
		}
	}
	return w
}

// letter returns the name of the member that comes next, which has one letter.
func (s *scanner) letter() byte {
	if rest := s.src[s.pos:]; len(rest) > 4 && rest[0] == '"' && rest[2] == '"' && rest[3] == ':' {
		s.pos += 4
		return rest[1]
	}
	s.fail()
	return 0
}

func (s *scanner) integer() int64 {
	const digits = 18 // of any int64
	start, n := s.pos, int64(0)
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		n = n*10 + int64(c-'0')
		s.pos++
	}
	if s.pos == start || s.pos-start > digits {
		s.fail()
	}
	return n
}

// value steps over any JSON value and returns it raw.
func (s *scanner) value() string {
	start, depth := s.pos, 0
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case '"':
			s.quoted()
		case '{', '[':
			depth++
			s.pos++
			continue
		case '}', ']':
			depth--
			s.pos++
		case ',', ':':
			if depth == 0 {
				s.fail()
			}
			s.pos++
			continue
		default:
			s.scalar()
		}
		if depth <= 0 {
			break
		}
	}
	if s.bad || depth != 0 || s.pos <= start {
		s.fail()
		return ""
	}
	return s.src[start:s.pos]
}

// scalar steps over a number or a literal.
func (s *scanner) scalar() {
	start := s.pos
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' && c != '+' && c != '.' && c != 'E' {
			break
		}
		s.pos++
	}
	if s.pos == start {
		s.fail()
	}
}

func unquote(q string) (string, bool) {
	inner := q[1 : len(q)-1]
	if strings.IndexByte(inner, '\\') < 0 && utf8.ValidString(inner) {
		return inner, true
	}
	var v string
	err := json.Unmarshal([]byte(q), &v)
	return v, err == nil
}

// appendQuoted appends s as a JSON string. s must be valid UTF-8 to be read
// back as it was.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
