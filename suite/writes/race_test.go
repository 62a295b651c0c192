//go:build race

package writes_test

// racing tells whether the race detector is on, under which all takes several times as long.
const racing = true
