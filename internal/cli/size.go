package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeFlag is a number of bytes, written "500MiB", "2GB" or "1048576".
type sizeFlag int64

func (f *sizeFlag) Type() string { return "SIZE" }

func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return bytesText(int64(*f))
}

func (f *sizeFlag) Set(s string) error {
	digits := strings.TrimRight(s, "BKMGTkibmgt ")
	unit := strings.ToLower(strings.TrimSpace(s[len(digits):]))
	size, ok := map[string]float64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}[unit]
	n, err := strconv.ParseFloat(digits, 64)
	if bytes := n * size; err == nil && ok && bytes >= 0 && bytes < math.MaxInt64 {
		*f = sizeFlag(bytes)
		return nil
	}
	return errors.New("want a size like 500MiB or 2GB")
}

// bytesText writes a size in its largest unit.
func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + " " + u.name
		}
	}
	return comma(n) + " B"
}
