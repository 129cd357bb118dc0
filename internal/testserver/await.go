package testserver

import (
	"fmt"
	"time"
)

// Await asks until there is no error, which is the last one when Patience ends. It
// gives up when gone is closed; nil never is.
func Await(gone <-chan struct{}, ask func() error) error {
	deadline := time.After(Patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return fmt.Errorf("it ended: %w", err)
		case <-deadline:
			return fmt.Errorf("waited %v: %w", Patience, err)
		case <-tick.C:
		}
	}
}
