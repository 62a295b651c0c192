package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports stay below every system's range of ephemeral ports, also with the distance added: otherwise the source port
// of some client could take the port of a server that is down for a moment.
const (
	firstPort       = 10000
	portCount       = 10000
	busPortDistance = 10000 // where Redis Cluster puts the bus of a node
)

// reservePort returns a port of 127.0.0.1 that is free, as is the port of the cluster bus that belongs to it. Until the
// test ends no other test of any process gets it: the claim is a UDP socket of the same number, which Redis does not use.
func reservePort(t testing.TB) int {
	t.Helper()
	for range portCount {
		port := firstPort + rand.IntN(portCount)
		claim, err := net.ListenPacket("udp4", loopback(port))
		if err != nil {
			continue
		}
		if !unused(port) || !unused(port+busPortDistance) {
			_ = claim.Close()
			continue
		}
		t.Cleanup(func() { _ = claim.Close() })
		return port
	}
	t.Fatal("redistest: no free port")
	return 0
}

func unused(port int) bool {
	listener, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}

func loopback(port int) string {
	return fmt.Sprintf("127.0.0.1:%d", port)
}
