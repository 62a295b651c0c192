// Package devredis runs a Redis inside the program, for development and for
// examples that should start with one command and nothing to install.
//
// What it holds ends with the program, and no other server shares it. So start
// it where somebody asks for it, as by a flag -dev, rather than wherever
// REDSESSION_URL is missing: a server that lacks the variable by mistake should
// say so. Tests have package redsessiontest, whose clock can be turned.
package devredis

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/alicebob/miniredis/v2"
)

// Server is a Redis inside the program. Its methods are safe for concurrent use.
type Server struct {
	mini *miniredis.Miniredis
	url  string
}

// Start starts a Redis (miniredis) on a free port of the loopback interface.
// Other users of the machine can reach the port, so a random password keeps them
// out. Keys expire by the wall clock.
//
// It refuses when REDSESSION_URL or REDSESSION_URL_FILE is set: the program was
// told which Redis to use, and sessions kept here instead would be lost without
// a word.
func Start() (*Server, error) {
	for _, name := range []string{"REDSESSION_URL", "REDSESSION_URL_FILE"} {
		if os.Getenv(name) != "" {
			return nil, errors.New("devredis: " + name + " is set: use the Redis that it names, or unset it")
		}
	}
	mini := miniredis.NewMiniRedis()
	mini.ClockTTL(true) // or no key would ever expire: it is made for tests
	password := rand.Text()
	mini.RequireAuth(password)
	if err := mini.Start(); err != nil {
		return nil, fmt.Errorf("devredis: starting: %w", err)
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: mini.Addr()}
	return &Server{mini, u.String()}, nil
}

// URL returns what to set redsession.Config.URL to. It has the password in it:
// print it for whoever shall look inside with redis-cli -u, and for nobody else.
func (s *Server) URL() string { return s.url }

// SetAway makes the server refuse every command, as a Redis does that is
// starting, or answer again. What it holds stays. It shows what a program does
// in an outage.
func (s *Server) SetAway(away bool) {
	refusal := ""
	if away {
		refusal = "LOADING Redis is loading the dataset in memory"
	}
	s.mini.SetError(refusal)
}

// Close stops the server, and what it holds is gone. Close the Manager first: it
// makes the logouts that an outage kept from Redis. A second call does nothing.
func (s *Server) Close() { s.mini.Close() }
