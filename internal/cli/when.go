package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed"
)

// parseFrom reads start, end, a TIME or a POSITION.
func parseFrom(flag, s string) (deed.From, error) {
	switch s {
	case "", "start":
		return deed.From{}, nil
	case "end":
		return deed.FromEnd(), nil
	}
	if isCursor(s) {
		return deed.FromCursor(deed.Cursor(s)), nil
	}
	t, err := parseTime(s)
	if err != nil {
		return deed.From{}, usagef("--%s %q: want start, end, an RFC 3339 time, -24h, or a position like 3-1042", flag, s)
	}
	return deed.FromTime(t), nil
}

// isCursor tells a position, "3-1042", or several joined by commas, from a time:
// what starts with a year is no partition.
func isCursor(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		partition, position, ok := strings.Cut(part, "-")
		if n, err := strconv.Atoi(partition); !ok || err != nil || n < 0 || n >= 1000 || position == "" {
			return false
		}
	}
	return true
}

// parseTime reads RFC 3339, a date, or a time before now: "-24h", "-7d".
func parseTime(s string) (time.Time, error) {
	if strings.HasPrefix(s, "-") {
		d, err := parseSpan(s[1:])
		return time.Now().Add(-d), err
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339Nano, s)
}

// parseSpan reads a duration as time.ParseDuration does, and days: "7d", "1d12h".
func parseSpan(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return positive(time.ParseDuration(s))
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || n < 0 || n > 100_000 {
		return 0, fmt.Errorf("invalid duration %q (want 90s, 24h, 7d)", s)
	}
	d := time.Duration(n * 24 * float64(time.Hour))
	if rest == "" {
		return d, nil
	}
	more, err := positive(time.ParseDuration(rest))
	return d + more, err
}

func positive(d time.Duration, err error) (time.Duration, error) {
	if err != nil || d < 0 {
		return 0, fmt.Errorf("invalid duration (want 90s, 24h, 7d)")
	}
	return d, nil
}

// spanFlag is a duration flag that knows days and "forever", which is zero.
type spanFlag struct {
	to      *time.Duration
	forever bool
}

func (f spanFlag) String() string {
	if f.to == nil || *f.to == 0 {
		return ""
	}
	return span(*f.to)
}

func (f spanFlag) Type() string { return "DUR" }

func (f spanFlag) Set(s string) (err error) {
	if f.forever && s == "forever" {
		*f.to = 0
		return nil
	}
	*f.to, err = parseSpan(s)
	return err
}
