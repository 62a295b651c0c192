package capacity

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseCounts reads numbers of sessions such as "100k,1m,8m": k is a thousand, m
// a million, g a billion.
func ParseCounts(text string) ([]int, error) {
	var counts []int
	for part := range strings.SplitSeq(text, ",") {
		n, ok := parseCount(strings.ToLower(strings.TrimSpace(part)))
		if !ok {
			return nil, usageError(fmt.Sprintf("%q is no number of sessions: want for example 100k,1m,8m", part))
		}
		counts = append(counts, n)
	}
	return counts, nil
}

func parseCount(text string) (int, bool) {
	unit := 1.0
	for suffix, value := range map[string]float64{"k": 1e3, "m": 1e6, "g": 1e9} {
		if digits, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = digits, value
		}
	}
	if strings.Trim(text, "0123456789.") != "" {
		return 0, false // signs, exponents, hexadecimals, infinity
	}
	v, err := strconv.ParseFloat(text, 64)
	n := math.Round(v * unit)
	return int(n), err == nil && n >= 1 && n <= 1e12 && math.Abs(n-v*unit) < 1e-6
}

// Short writes n as ParseCounts reads it.
func Short(n int) string {
	for _, u := range []struct {
		size   int
		suffix string
	}{{1e9, "g"}, {1e6, "m"}, {1e3, "k"}} {
		if n >= u.size {
			if v := strconv.FormatFloat(float64(n)/float64(u.size), 'f', -1, 64); len(v) <= 5 {
				return v + u.suffix
			}
		}
	}
	return strconv.Itoa(n)
}
