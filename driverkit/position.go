package driverkit

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/deedgo/deed/driver"
)

// Engines that count positions write them as decimal numbers, from 1. The place before all
// of them is 0, and "" as text.

// Position writes a position.
func Position(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// ParsePosition reads what [Position] wrote; anything else is ErrRefused.
func ParsePosition(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case text == "":
		return 0, nil
	case err != nil || n < 1 || text[0] == '+' || text[0] == '0': // else one position had two texts
		return 0, fmt.Errorf("%w: %.40q is no position of this engine (want a number from 1)", driver.ErrRefused, text)
	}
	return n, nil
}

// ComparePositions is [driver.Browser]'s Compare.
func ComparePositions(a, b string) (int, error) {
	x, err := ParsePosition(a)
	if err != nil {
		return 0, err
	}
	y, err := ParsePosition(b)
	return cmp.Compare(x, y), err
}
