package cli

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/deedgo/deed"
)

// watchEvery is how often --watch looks again.
const watchEvery = time.Second

// clearScreen moves a terminal's cursor to the top left and erases what is below.
const clearScreen = "\x1b[H\x1b[2J"

// watchLag shows the lag again and again, until a signal: in place on a terminal,
// one table below the other elsewhere, and with -o json a document each time.
func (a *app) watchLag(ctx context.Context, bus *deed.Bus, f lagFlags) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		// What is shown is written in one go, so that a screen does not flicker.
		var page bytes.Buffer
		switch {
		case f.out == asJSON:
		case isTerminal(a.stdout):
			page.WriteString(clearScreen)
		case !first:
			page.WriteByte('\n')
		}
		shown := *a
		shown.stdout = &page
		_, err := shown.showLag(ctx, bus, f)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := io.Copy(output{a.stdout}, &page); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
