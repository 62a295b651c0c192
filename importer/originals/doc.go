// Package originals holds tests that have the packages which redsession replaces
// make sessions, and read those with the importer.
package originals
