package jsonvalue_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/jsonvalue"
)

type (
	opaque  struct{ secret string }
	text    struct{ secret string }
	pointer struct{ secret string }
	mixed   struct{ Name, secret string }
	empty   struct{}
	tagged  struct {
		A int `json:"-"`
	}
	embeds   struct{ mixed }
	embeds2  struct{ opaque }
	isErr    struct{ error }
	itself   struct{ *itself }
	Opaque   struct{ secret string }
	Exported struct{ Opaque }
	list     struct {
		Next *list
		V    int
	}
)

func (t text) MarshalText() ([]byte, error)     { return []byte(t.secret), nil }
func (t *text) UnmarshalText(b []byte) error    { t.secret = string(b); return nil }
func (p *pointer) MarshalJSON() ([]byte, error) { return json.Marshal(p.secret) }
func (p *pointer) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &p.secret) }
func encodes[T any](v T) func() (string, error) {
	return func() (string, error) { return jsonvalue.Encode(v) }
}
func bigInt() big.Int        { return *big.NewInt(12345) }
func counter() *atomic.Int64 { n := new(atomic.Int64); n.Store(7); return n }
func locked() *sync.Mutex    { m := new(sync.Mutex); m.Lock(); return m }
func userURL() *url.URL      { u, _ := url.Parse("https://alice:hunter2@example.com/"); return u }

// Values that encoding/json would take and not bring back, and values beside them that come back.
func TestEncodeRefusesWhatWouldBeLost(t *testing.T) {
	t.Parallel()
	const o = "has no exported field"
	const i = "would not decode"
	for _, row := range []struct {
		name   string
		encode func() (string, error)
		want   string
	}{
		{"a struct without exported fields", encodes(opaque{"hunter2"}), o},
		{"the same, though it is zero", encodes(opaque{}), o},
		{"a pointer to one", encodes(&opaque{"hunter2"}), o},
		{"a pointer that is nil", encodes[*opaque](nil), "null"},
		{"a list of them", encodes([]opaque{{"hunter2"}}), o},
		{"an empty list of them", encodes([]opaque{}), "[]"},
		{"an array of them", encodes([1]opaque{{"hunter2"}}), o},
		{"a map of them", encodes(map[string]opaque{"a": {"hunter2"}}), o},
		{"in a field", encodes(struct{ F opaque }{opaque{"hunter2"}}), o},
		{"in a field that is zero", encodes(struct {
			F opaque
			N int
		}{N: 1}), `{"F":{},"N":1}`},
		{"in a field that is not kept", encodes(struct {
			F opaque `json:"-"`
			N int
		}{opaque{"hunter2"}, 1}), `{"N":1}`},
		{"in a field of a field", encodes(struct{ F struct{ G []*opaque } }{struct{ G []*opaque }{[]*opaque{{"hunter2"}}}}), o},
		{"embedded", encodes(embeds2{opaque{"hunter2"}}), o},
		{"embedded by its exported name", encodes(Exported{Opaque{"hunter2"}}), o},
		{"an error embedded", encodes(isErr{errors.New("hunter2")}), o},
		{"a struct that embeds itself", encodes(itself{}), o},
		{"behind any", encodes[any](opaque{"hunter2"}), o},
		{"behind any in a map", encodes(map[string]any{"a": 1, "b": []any{opaque{"hunter2"}}}), o},
		{"an error behind any", encodes[any](errors.New("hunter2")), o},
		{"a counter", encodes(struct{ N *atomic.Int64 }{counter()}), o},
		{"a mutex that is locked", encodes(struct{ Mu *sync.Mutex }{locked()}), o},
		{"a user's password in a URL", encodes(userURL()), o},
		{"a big.Int in a map of values", encodes(map[string]big.Int{"a": bigInt()}), o},
		{"an interface", encodes[error](errors.New("hunter2")), i},
		{"an interface that is nil", encodes[error](nil), i},
		{"an interface with something that encodes", encodes[fmt.Stringer](time.Unix(0, 0).UTC()), i},
		{"a list of interfaces", encodes([]error{errors.New("hunter2")}), i},
		{"an interface in a field", encodes(struct{ Err error }{errors.New("hunter2")}), i},
		{"an interface in a field that is nil", encodes(struct{ Err error }{}), `{"Err":null}`},
		{"a field that holds time", encodes(struct{ S fmt.Stringer }{time.Unix(0, 0).UTC()}), i},

		{"a struct with a field that is not exported", encodes(mixed{"Ada", "hunter2"}), `{"Name":"Ada"}`},
		{"a struct without fields", encodes(empty{}), `{}`},
		{"a list of such", encodes([]struct{}{{}}), `[{}]`},
		{"a set", encodes(map[string]struct{}{"a": {}}), `{"a":{}}`},
		{"a struct whose fields are left out by its author", encodes(tagged{1}), `{}`},
		{"a struct that embeds one with fields", encodes(embeds{mixed{"Ada", ""}}), `{"Name":"Ada"}`},
		{"a mutex beside values", encodes(&struct {
			sync.Mutex
			N int
		}{N: 1}), `{"N":1}`},
		{"a time", encodes(time.Unix(0, 0).UTC()), `"1970-01-01T00:00:00Z"`},
		{"a struct that embeds a time", encodes(struct{ time.Time }{time.Unix(0, 0).UTC()}), `"1970-01-01T00:00:00Z"`},
		{"an address", encodes(netip.MustParseAddr("::1")), `"::1"`},
		{"raw JSON", encodes(json.RawMessage(`{"a":1}`)), `{"a":1}`},
		{"a MarshalText", encodes(text{"a"}), `"a"`},
		{"a MarshalText in a map", encodes(map[string]text{"k": {"a"}}), `{"k":"a"}`},
		{"a MarshalJSON with a pointer receiver", encodes(pointer{"a"}), `"a"`},
		{"a MarshalJSON with a pointer receiver in a list", encodes([]pointer{{"a"}}), `["a"]`},
		{"a MarshalJSON with a pointer receiver in a field", encodes(struct{ F pointer }{pointer{"a"}}), `{"F":"a"}`},
		{"a big.Int", encodes(bigInt()), `12345`},
		{"a pointer to a big.Int in a map", encodes(map[string]*big.Int{"a": big.NewInt(5)}), `{"a":5}`},
		{"a list that ends", encodes(list{&list{nil, 2}, 1}), `{"Next":{"Next":null,"V":2},"V":1}`},
		{"nil behind any", encodes[any](nil), `null`},
		{"loose JSON", encodes(map[string]any{"a": []any{1, "x", nil, true, 1.5}}), `{"a":[1,"x",null,true,1.5]}`},
		{"times behind any", encodes([]any{time.Unix(0, 0).UTC(), &pointer{"a"}}), `["1970-01-01T00:00:00Z","a"]`},
	} {
		for range 2 { // decided, and remembered
			got, err := row.encode()
			var why jsonvalue.Error
			switch refused := errors.As(err, &why); {
			case row.want == o || row.want == i:
				if !refused || got != "" || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: got %s and %v, want an error that says %q and no value", row.name, got, err, row.want)
				}
			case got != row.want || err != nil:
				t.Errorf("%s: got %s and %v, want %s", row.name, got, err, row.want)
			}
		}
	}
	loop := &list{V: 1}
	loop.Next = loop
	round := map[string]any{}
	round["round"], round["and round"] = round, []any{round, round}
	for _, f := range []func() (string, error){encodes(loop), encodes(round), encodes[any](&struct{ A any }{loop})} {
		if got, err := f(); err == nil {
			t.Errorf("got %s for what goes round in circles, want an error", got)
		}
	}
}
