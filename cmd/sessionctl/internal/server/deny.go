package server

import (
	"errors"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Denied tells whether err says that this user may not, or that this server
// does not let anybody, run a command, and what would have to be granted.
func Denied(err error) (why string, ok bool) {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return "", false
	}
	text := reply.Error()
	switch {
	case strings.HasPrefix(text, "NOPERM") && strings.Contains(text, "keys mentioned"), strings.HasPrefix(text, "NOPERM") && strings.Contains(text, "access a key"), strings.HasPrefix(text, "NOPERM") && strings.Contains(text, "access one of the keys"):
		return "this user may not read these keys", true
	case strings.HasPrefix(text, "NOPERM"):
		if m := deniedCommand.FindStringSubmatch(text); m != nil {
			return "needs +" + strings.ToLower(m[1]), true
		}
		return "this user has no permission", true
	case strings.HasPrefix(text, "ERR unknown command"), strings.HasPrefix(text, "ERR unknown subcommand"), strings.HasPrefix(text, "ERR Unknown subcommand"):
		if m := unknownCommand.FindStringSubmatch(text); m != nil {
			return strings.ToUpper(m[1]) + " is switched off here, or this server does not have it", true
		}
		return "this server does not have the command", true
	}
	return "", false
}

var (
	deniedCommand  = regexp.MustCompile(`run the '([\w|-]+)' command`)
	unknownCommand = regexp.MustCompile("(?i)unknown (?:sub)?command [`'\"]([\\w-]+)")
)
