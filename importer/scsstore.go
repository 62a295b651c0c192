package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/redsession/redsession"
)

// SCSStore is what of an scs.Store is needed. All of scs's stores have it, such as those
// for Postgres, MySQL and SQLite; the methods of an scs.CtxStore and an scs.IterableStore,
// or IterableCtxStore, are used where they are.
type SCSStore interface {
	Find(token string) (b []byte, found bool, err error)
	Delete(token string) error
}

// SCSStoreRecords are the sessions of alexedwards/scs in any of its stores. Make it with
// SCSIn.
type SCSStoreRecords struct {
	Common // Lifetime is scs's IdleTimeout, if there is one: stores do not tell what is left of it
	Store  SCSStore
	// HashedTokens is scs's HashTokenInStore: the keys are hashes of the tokens.
	HashedTokens bool
	// BrowserSession tells of a Cookie.Persist of false: the cookie ends with the
	// browser unless scs's RememberMe was set.
	BrowserSession bool
}

// SCSIn returns the sessions in a store of scs, with the usual GobCodec. To import them
// ahead of time the store must be able to list them, as all of scs's own are: it returns
// them all at once, and they are held in memory, so import from Redis with SCS. SCS says
// what else is to be known.
func SCSIn(store SCSStore) *SCSStoreRecords { return &SCSStoreRecords{Store: store} }

// Name is "scs".
func (s *SCSStoreRecords) Name() string { return cmp.Or(s.Label, "scs") }

// Sessions walks over what the store lists.
func (s *SCSStoreRecords) Sessions(ctx context.Context) iter.Seq2[Read, error] {
	return func(yield func(Read, error) bool) {
		all, err := s.all(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("listing the sessions of the store: %w", err))
			return
		}
		for token, data := range all {
			read := func() (redsession.LegacyRecord, []string, error) { return s.decode(token, data) }
			if !isSCSToken(token) {
				read = skipping(BadID)
			}
			if ctx.Err() != nil || !yield(read, nil) {
				return
			}
		}
	}
}

func (s *SCSStoreRecords) all(ctx context.Context) (map[string][]byte, error) {
	switch store := s.Store.(type) {
	case interface {
		AllCtx(context.Context) (map[string][]byte, error)
	}:
		return store.AllCtx(ctx)
	case interface {
		All() (map[string][]byte, error)
	}:
		return store.All()
	}
	return nil, errors.New("it has no method All: take them over live alone, with Adopt")
}

// Adopt takes over these sessions live. The cookie's name is "session" if it is
// empty.
func (s *SCSStoreRecords) Adopt(cookie string) redsession.Legacy {
	return redsession.Legacy{
		Source: s.Name(), Cookie: cmp.Or(cookie, "session"), Verify: scsToken(s.HashedTokens),
		Load: s.load, Delete: s.remove,
	}
}

func (s *SCSStoreRecords) load(ctx context.Context, token string) (*redsession.LegacyRecord, error) {
	find := s.Store.Find
	if store, ok := s.Store.(interface {
		FindCtx(ctx context.Context, token string) ([]byte, bool, error)
	}); ok {
		find = func(token string) ([]byte, bool, error) { return store.FindCtx(ctx, token) }
	}
	data, found, err := find(token)
	if err != nil {
		return nil, fmt.Errorf("reading a session: %w", err)
	}
	if !found {
		return nil, nil
	}
	rec, _, err := s.decode(token, data)
	return live(rec, err)
}

func (s *SCSStoreRecords) remove(ctx context.Context, token string) (err error) {
	if store, ok := s.Store.(interface {
		DeleteCtx(ctx context.Context, token string) error
	}); ok {
		err = store.DeleteCtx(ctx, token)
	} else {
		err = s.Store.Delete(token)
	}
	if err != nil {
		return fmt.Errorf("removing a session: %w", err)
	}
	return nil
}

func (s *SCSStoreRecords) decode(token string, data []byte) (redsession.LegacyRecord, []string, error) {
	rec := redsession.LegacyRecord{Source: s.Name(), ID: token}
	if s.Lifetime > 0 {
		rec.ExpiresAt = time.Now().Add(s.Lifetime)
	}
	if len(data) > s.maxBytes() {
		return rec, nil, skip(Oversized)
	}
	return s.scs(rec, data, s.BrowserSession)
}
