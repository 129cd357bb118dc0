package driverkit

import (
	"fmt"

	"github.com/deedgo/deed/driver"
)

// Unsent marks the error of a write that came before anything was sent, so that its caller
// knows that nothing was stored.
func Unsent(err error) error {
	if err == nil || driver.NothingStored(err) {
		return err
	}
	return fmt.Errorf("%w: %w", driver.ErrNotStored, err)
}
