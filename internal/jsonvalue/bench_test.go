package jsonvalue_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession/internal/jsonvalue"
)

func BenchmarkEncode(b *testing.B) {
	type item struct {
		Name string
		N    int
		At   time.Time
	}
	items := []item{{"tea", 1, time.Unix(1, 0)}, {"milk", 2, time.Unix(2, 0)}}
	loose := map[string]any{"name": "Ada", "n": 1, "roles": []string{"admin"}, "deep": map[string]any{"x": true}}
	b.Run("int", func(b *testing.B) { encode(b, 4711) })
	b.Run("string", func(b *testing.B) { encode(b, "Ada Lovelace") })
	b.Run("structs", func(b *testing.B) { encode(b, items) })
	b.Run("pointer", func(b *testing.B) { encode(b, &items[0]) })
	b.Run("map of any", func(b *testing.B) { encode(b, loose) })
	b.Run("any of a string", func(b *testing.B) { encode[any](b, "Ada Lovelace") })
}

func encode[T any](b *testing.B, v T) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jsonvalue.Encode(v); err != nil {
			b.Fatal(err)
		}
	}
}
