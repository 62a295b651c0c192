//go:build !unix

package importer_test

import "os"

// makePipe makes a folder, the nearest thing that is no file.
func makePipe(name string) error { return os.Mkdir(name, 0o700) }
