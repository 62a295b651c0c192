package redistest

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// command is a request: its bytes as they were sent, and what they say.
type command struct {
	raw  []byte
	args []string // the name in upper case
}

func (c command) isHandshake() bool {
	switch c.args[0] {
	case "HELLO", "AUTH", "SELECT", "CLIENT":
		return true
	}
	return false
}

// isUpkeep tells the commands that a client sends by itself at times.
func (c command) isUpkeep() bool {
	switch c.args[0] {
	case "PING", "CLUSTER", "COMMAND":
		return true
	}
	return false
}

// isStream tells the commands after which replies no longer match requests one to one.
func (c command) isStream() bool {
	return strings.HasSuffix(c.args[0], "SUBSCRIBE") || c.args[0] == "MONITOR"
}

// readBatch waits for a command and returns it with all others that arrived together with it.
func readBatch(r *bufio.Reader) ([]command, error) {
	var batch []command
	for {
		c, err := readCommand(r)
		if err != nil {
			return batch, err
		}
		batch = append(batch, c)
		if r.Buffered() == 0 {
			return batch, nil
		}
	}
}

func readCommand(r *bufio.Reader) (command, error) {
	var c command
	count, err := c.readSize(r, '*')
	if err != nil {
		return c, err
	}
	if count < 1 {
		return c, fmt.Errorf("a command of %d words", count)
	}
	for range count {
		size, err := c.readSize(r, '$')
		if err != nil {
			return c, err
		}
		start := len(c.raw)
		if c.raw, err = appendBulk(c.raw, r, size); err != nil {
			return c, err
		}
		c.args = append(c.args, string(c.raw[start:start+size]))
	}
	c.args[0] = strings.ToUpper(c.args[0])
	return c, nil
}

func (c *command) readSize(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	c.raw = append(c.raw, line...)
	size, err := sizeOf(line)
	if err != nil || line[0] != kind || size < 0 {
		return 0, fmt.Errorf("no RESP request: %q", line)
	}
	return size, nil
}

func sizeOf(line []byte) (int, error) {
	if len(line) < len("$0\r\n") {
		return 0, fmt.Errorf("no size in %q", line)
	}
	return strconv.Atoi(string(line[1 : len(line)-len("\r\n")]))
}

func appendBulk(raw []byte, r *bufio.Reader, size int) ([]byte, error) {
	start := len(raw)
	raw = append(raw, make([]byte, size+len("\r\n"))...)
	_, err := io.ReadFull(r, raw[start:])
	return raw, err
}

// isPush tells a reply that answers no request.
func isPush(reply []byte) bool { return reply[0] == '>' }

// appendReply reads one reply of RESP2 or RESP3, whole with all its parts.
func appendReply(raw []byte, r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return raw, err
	}
	raw = append(raw, line...)
	parts := 0
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return raw, nil
	case '$', '=', '!', '*', '~', '>', '%', '|':
		if parts, err = sizeOf(line); err != nil {
			return raw, err
		}
	default:
		return raw, fmt.Errorf("no RESP reply: %q", line)
	}
	switch line[0] {
	case '$', '=', '!':
		if parts < 0 { // RESP2's null
			return raw, nil
		}
		return appendBulk(raw, r, parts)
	case '%':
		parts *= 2
	case '|': // attributes stand before the reply that they belong to
		parts = 2*parts + 1
	}
	for range parts {
		if raw, err = appendReply(raw, r); err != nil {
			return raw, err
		}
	}
	return raw, nil
}
