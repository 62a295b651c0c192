package redsessiontest

import (
	"context"
	"maps"

	"github.com/redsession/redsession"
)

// Users has Config.LoadUser know these users, by id, and no others, for handlers that call
// redsession.UserAs:
//
//	m := redsessiontest.New(t, redsessiontest.Users(map[string]*User{"alice": {Name: "Alice"}}))
//
// Their stamps never change. A login of anybody else is redsession.ErrNoUser.
func Users[T any](users map[string]T) func(*redsession.Config) {
	users = maps.Clone(users)
	return func(c *redsession.Config) {
		c.LoadUser = func(_ context.Context, id string) (any, string, error) {
			u, known := users[id]
			if !known {
				return nil, "", redsession.ErrNoUser
			}
			return u, "", nil
		}
	}
}
