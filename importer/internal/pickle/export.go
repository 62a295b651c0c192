package pickle

import (
	"math/big"

	"github.com/redsession/redsession/importer/internal/plain"
)

// export copies v into maps and slices, left values at most: what is shared is
// copied as often as it occurs, and what contains itself has no end.
func export(v any, depth int, left *int) (any, error) {
	if *left--; *left < 0 {
		return nil, ErrTooMany
	}
	if depth > plain.MaxDepth {
		return nil, plain.ErrTooDeep
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
		default:
			return nil, ErrKey
		}
		made, err := export(v.pairs[i+1], depth+1, left)
		if err != nil {
			return nil, err
		}
		m[key] = made
	}
	return m, nil
}
