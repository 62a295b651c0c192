package importer

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Target is what a Manager is to the import.
type Target = target

// RunInto is Run into any target.
func RunInto(ctx context.Context, to Target, source Source, o Options) (Report, error) {
	return run(ctx, to, source, o)
}

// OnceInto is Once into any target, with its state wherever client leads to.
func OnceInto(ctx context.Context, to Target, client redis.UniversalClient, prefix string, lease time.Duration, source Source, o Options) (Report, error) {
	return once(ctx, to, &state{client: client, key: prefix + "import:" + source.Name(), lease: lease}, source, o)
}
