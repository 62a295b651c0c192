package pickle

import (
	"math/big"
	"time"

	"github.com/redsession/redsession/importer/internal/plain"
)

// lostKey stands for a key of a dict that is neither text nor a number. package plain
// leaves it out, as it does what is nested too deep.
type lostKey struct{ at int }

// export copies v into maps and slices, left values at most: what is shared is
// copied as often as it occurs, and what contains itself has no end.
func export(v any, depth int, left *int) (any, error) {
	if *left--; *left < 0 {
		return nil, ErrTooMany
	}
	if depth > plain.MaxDepth {
		return nil, nil
	}
	switch v := v.(type) {
	case *list:
		items := make([]any, 0, min(len(v.items), *left))
		for _, item := range v.items {
			made, err := export(item, depth+1, left)
			if err != nil {
				return nil, err
			}
			items = append(items, made)
		}
		return items, nil
	case *dict:
		return exportDict(v, depth, left)
	case moment:
		if v.naive {
			return plain.Noted{Value: v.Time, Note: plain.NoteZone}, nil
		}
		return v.Time, nil
	case day:
		return string(v), nil
	case clock:
		return string(v), nil
	case delta:
		return v.inSeconds(), nil
	case *time.Location:
		return v.String(), nil
	case global:
		return nil, &CallError{Opcode: "GLOBAL"} // the class itself is the value
	}
	return v, nil
}

func exportDict(v *dict, depth int, left *int) (any, error) {
	m := make(map[any]any, min(len(v.pairs)/2, *left))
	for i := 0; i+1 < len(v.pairs); i += 2 {
		key := v.pairs[i]
		switch k := key.(type) {
		case string, int64, bool:
		case *big.Int:
			*left -= k.BitLen() / 64 // its text takes as much work as so many values, wherever it is shared
			key = k.String()
		case day:
			key = string(k)
		default:
			key = lostKey{i}
		}
		made, err := export(v.pairs[i+1], depth+1, left)
		if err != nil {
			return nil, err
		}
		m[key] = made
	}
	return m, nil
}
