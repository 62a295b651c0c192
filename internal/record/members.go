package record

// order is the order in which the optional members of a record are written.
const order = "caxiwneoupksrgmbhfljqyYzLP"

var what = map[byte]string{'b': "binding", 'h': "thumbprint", 'o': "origin", 'u': "user id", 's': "user stamp", 'r': "remote address", 'g': "user agent", 'm': "source", 'l': "label", 'j': "tags", 'q': "proof", 'y': "actor", 'Y': "actor's stamp", 'L': "leases"}

// flag returns the member of this name if it is one that is there or not.
func (r *Record) flag(name byte) *bool {
	switch name {
	case 'p':
		return &r.Pending
	case 'f':
		return &r.TurnDue
	case 'P':
		return &r.AtLimit
	}
	return nil
}

// number returns the member of this name if it is a number.
func (r *Record) number(name byte) *int64 {
	switch name {
	case 'c':
		return &r.Created
	case 'a':
		return &r.Auth
	case 'x':
		return &r.Deadline
	case 'i':
		return &r.Idle
	case 'w':
		return &r.Written
	case 'n':
		return &r.Issued
	case 'e':
		return &r.Seen
	case 'k':
		return &r.Remember
	case 'z':
		return &r.Ceiling
	}
	return nil
}

// text returns the member of this name, which is one of the texts.
func (r *Record) text(name byte) *string {
	switch name {
	case 'o':
		return &r.Origin
	case 'u':
		return &r.User
	case 's':
		return &r.Stamp
	case 'r':
		return &r.RemoteAddr
	case 'g':
		return &r.UserAgent
	case 'b':
		return &r.Binding
	case 'h':
		return &r.Thumbprint
	case 'l':
		return &r.Label
	case 'j':
		return (*string)(&r.Tags)
	case 'q':
		return &r.Proved
	case 'y':
		return &r.Actor
	case 'Y':
		return &r.ActorStamp
	case 'L':
		return &r.Leases
	default:
		return &r.Source
	}
}
