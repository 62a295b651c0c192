//go:build !race

package writes_test

const racing = false
