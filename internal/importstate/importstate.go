// Package importstate lets package importer, and nobody outside this project,
// ask a Manager where the state of imports is kept.
package importstate

// Key opens Admin.ImportState.
type Key struct{}
