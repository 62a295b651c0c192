// Package importstate tells package importer, and nobody outside this project,
// where the state of imports is kept: a hash in the Redis and under the prefix of
// the sessions that are imported.
package importstate

import "github.com/redis/go-redis/v9"

// Of returns the client and the key prefix of manager, a *redsession.Manager; it
// panics if manager is anything else. The client stays manager's to close. Package
// redsession sets Of while it is initialized, and nothing changes it afterwards, so
// that it may be called at any time from several goroutines.
var Of func(manager any) (client redis.UniversalClient, prefix string)
