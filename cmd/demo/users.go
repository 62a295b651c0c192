package main

import "golang.org/x/crypto/bcrypt"

// user is somebody who can log in. A real site has no password in it.
type user struct {
	Name     string
	Password string // for the login page, since this is a demo
	hash     string
}

var users = []user{
	{"alice", "rabbit-hole", "$2a$10$dW7Q6IF6eaow7UWrtxCnnOd6/1dofPM8p5YZvsQQQDty7hW6UAbHu"},
	{"bob", "can-we-fix-it", "$2a$10$e3L2WOwEJLsbXeZ/MMq0KOayjSUzVNgnJwP73apaCNQGO9LQ3Oaii"},
}

// nobody is compared with when the name is unknown, so that the time of an
// answer does not tell which names exist.
const nobody = "$2a$10$iojdztAIxGAKvahgBwVw7eII4Fk95gqIbcm0JrumaMeM6OKvUSgzq"

// authenticate tells whether password is the one of the user called name.
func authenticate(name, password string) bool {
	hash, known := nobody, false
	for _, u := range users {
		if u.Name == name {
			hash, known = u.hash, true
		}
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && known
}
