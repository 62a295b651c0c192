package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// readKeyPairs reads what the help of import describes: for each line two keys,
// of which the second may be nil. Errors show no key.
func readKeyPairs(file string) ([][]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pairs [][]byte
	for i, line := range bytes.Split(data, []byte("\n")) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) > 2 {
			return nil, fmt.Errorf("line %d has more than two keys: keys with spaces are to be written as hex or base64", i+1)
		}
		pair := [2][]byte{}
		for n, field := range fields {
			if pair[n], err = decodeKey(field); err != nil {
				return nil, fmt.Errorf("line %d, key %d: %w", i+1, n+1, err)
			}
		}
		if n := len(pair[1]); len(fields) == 2 && n != 16 && n != 24 && n != 32 {
			return nil, fmt.Errorf("line %d: the encryption key has %d bytes, want 16, 24 or 32", i+1, n)
		}
		pairs = append(pairs, pair[0], pair[1])
	}
	if pairs == nil {
		return nil, errors.New("there is no key in the file")
	}
	return pairs, nil
}

func decodeKey(field string) (key []byte, err error) {
	form, text, _ := strings.Cut(field, ":")
	switch form {
	case "text":
		key = []byte(text)
	case "hex":
		key, err = hex.DecodeString(text)
	case "base64":
		key, err = base64.StdEncoding.DecodeString(text)
	default:
		return nil, errors.New("want text:, hex: or base64: before the key")
	}
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("this is not of the form %s", form)
	}
	return key, nil
}
