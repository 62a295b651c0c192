package dbsc

// BoundCookie is what the bound cookie says: the short-lived cookie that only the device can
// get anew. Times are in Unix seconds.
type BoundCookie struct {
	Identifier      string
	Issued, Expires int64
}

const (
	signedLen = timeLen + timeLen + macLen // bytes of the times and their MAC
	sealLen   = (signedLen*8 + 5) / 6      // characters of base64url of them
)

// EncodeCookie returns a value of A-Z, a-z, 0-9, -, _ and . for c, of 87 characters. The
// identifier must be one of Identifier, and the times not before 1970.
func (s *Signer) EncodeCookie(c BoundCookie) string {
	b := appendTime(appendTime(make([]byte, 0, signedLen), c.Issued), c.Expires)
	sum := s.cookies.sign(b, c.Identifier)
	return strict.EncodeToString(append(b, sum[:]...)) + c.Identifier
}

// DecodeCookie returns what value says, and whether one of our keys signed it; both times
// are the caller's to look at. The value may be in double quotes. The Identifier is a part of
// the string value, and allocates nothing: clone what is kept longer than the request.
func (s *Signer) DecodeCookie(value string) (c BoundCookie, ok bool) {
	value = unquoted(value)
	if len(value) != sealLen+identifierLen {
		return c, false
	}
	var text [sealLen]byte
	var b [signedLen]byte
	n, err := strict.Decode(b[:], text[:copy(text[:], value)])
	if err != nil || n != signedLen { // it skips line feeds
		return c, false
	}
	c = BoundCookie{Identifier: value[sealLen:], Issued: readTime(b[:]), Expires: readTime(b[timeLen:])}
	if !s.cookies.verify(b[2*timeLen:], b[:2*timeLen], c.Identifier) {
		return BoundCookie{}, false
	}
	return c, true
}
