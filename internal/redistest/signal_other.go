//go:build !unix

package redistest

import "os"

// Without these signals there is no redis-server either; the package only has to compile.
var terminate, freeze, thaw os.Signal = os.Kill, os.Interrupt, os.Interrupt
