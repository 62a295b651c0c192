package overhttp

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// wrkScript sends the cookies in turn and prints what came of it as JSON, for wrk's own report rounds.
//
//go:embed wrk.lua
var wrkScript string

// wrk is load by the program of that name. It gets the cookies by its environment, which other users cannot read.
func wrk(o loadOrders) (l loaded, err error) {
	cookies := make([]string, o.Connections)
	for i := range cookies {
		c, err := dial(o.Address, fmt.Sprint("ada-", i))
		if err != nil {
			return l, err
		}
		if err := c.conn.Close(); err != nil {
			return l, err
		}
		cookies[i] = c.cookie
	}
	script, err := os.CreateTemp("", "redsession-benchmarks-*.lua")
	if err != nil {
		return l, err
	}
	defer os.Remove(script.Name())
	if _, err := script.WriteString(wrkScript); err != nil {
		return l, err
	}
	if err := script.Close(); err != nil {
		return l, err
	}
	seconds := max(1, int(o.Lasts.Seconds()+0.5)) // wrk takes whole ones
	cmd := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(o.Connections), fmt.Sprintf("-d%ds", seconds), "-s", script.Name(), "http://"+o.Address+"/read")
	cmd.Env = append(os.Environ(), "BENCHMARKS_COOKIES="+strings.Join(cookies, "\n"))
	out, err := cmd.Output()
	if err != nil {
		return l, fmt.Errorf("running wrk: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var said struct {
		loaded
		Done int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil {
		return l, fmt.Errorf("reading what wrk says: %w", err)
	}
	return said.loaded, said.check(said.Done)
}
