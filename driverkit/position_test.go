package driverkit

import (
	"errors"
	"math"
	"testing"

	"github.com/deedgo/deed/driver"
)

func TestPosition(t *testing.T) {
	for n, want := range map[int64]string{-1: "", 0: "", 1: "1", 10: "10", math.MaxInt64: "9223372036854775807"} {
		text := Position(n)
		if text != want {
			t.Errorf("position %d is %q, want %q", n, text, want)
		}
		if got, err := ParsePosition(text); err != nil || got != max(n, 0) {
			t.Errorf("%q reads back as %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "01", "+1", "-1", "1.5", " 1", "1-2", "x", "9223372036854775808"} {
		if n, err := ParsePosition(text); !errors.Is(err, driver.ErrRefused) {
			t.Errorf("%q is read as %d, %v, want ErrRefused", text, n, err)
		}
	}
}

func TestComparePositions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "1", -1}, {"9", "10", -1}, {"10", "9", 1}, {"7", "7", 0}} {
		if got, err := ComparePositions(c.a, c.b); err != nil || got != c.want {
			t.Errorf("%q compared with %q is %d, %v, want %d", c.a, c.b, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"x", "1"}, {"1", "x"}} {
		if _, err := ComparePositions(c[0], c[1]); !errors.Is(err, driver.ErrRefused) {
			t.Errorf("%q compared with %q: %v, want ErrRefused", c[0], c[1], err)
		}
	}
}
