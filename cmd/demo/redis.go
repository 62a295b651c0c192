package main

import "github.com/alicebob/miniredis/v2"

// startRedis starts a Redis in this process, on a free port of the loopback
// interface.
func startRedis() (url string, stop func(), err error) {
	mr := miniredis.NewMiniRedis()
	mr.ClockTTL(true) // or no key would ever expire: it is made for tests
	if err := mr.Start(); err != nil {
		return "", nil, err
	}
	return "redis://" + mr.Addr(), mr.Close, nil
}
