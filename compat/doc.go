// Package compat holds redsession against the middlewares and frameworks that Go programs
// use, over real connections with a real cookie jar. It is a module of its own, so that
// nobody else needs what it requires. Its table writes docs/compatibility.md:
//
//	go test . -update
package compat
