package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// memoryLimitMB is what a consuming process may use, however much waits for it and
// however many keys there are.
const memoryLimitMB = 200

const (
	backlogEvents = 3_000_000
	distinctKeys  = 1_000_000
	// oneInBad keys fail for good: the key is parked with what comes after.
	oneInBad = 10
)

// checkMemory lets processes of their own handle a long backlog and many parked keys,
// and fails when one of them needs more memory than the limit, or loses an event.
func checkMemory(ctx context.Context, s *settings, dir string) error {
	backlog := int(s.scale * backlogEvents)
	keys := max(int(s.scale*distinctKeys)/oneInBad, 1) * oneInBad
	bad := keys / oneInBad
	checks := []struct {
		name          string
		fill, consume request
		want          map[string]int
	}{
		{name: fmt.Sprintf("a backlog of %d events", backlog),
			fill: request{Task: taskFill, Events: backlog}, consume: request{Task: taskDrain, Events: backlog},
			want: map[string]int{"handled": backlog, "dead": 0, "parked": 0, "lag": 0}},
		{name: fmt.Sprintf("%d distinct keys, %d of them parked", keys, bad),
			fill: request{Task: taskFillKeys, Events: keys}, consume: request{Task: taskPark, Events: keys},
			want: map[string]int{"handled": keys - bad, "dead": bad, "parked": bad, "lag": 0}},
	}
	fmt.Printf("| memory | events/s | peak MB (at most %d) | handled | dead | parked behind |\n"+
		"|---|--:|--:|--:|--:|--:|\n", memoryLimitMB)
	var failed []error
	for i, c := range checks {
		fmt.Fprintf(os.Stderr, "%s\n", c.name)
		c.fill.System, c.consume.System = "deed/sqlite", "deed/sqlite"
		c.fill.Dir = filepath.Join(dir, fmt.Sprint("memory-", i))
		c.consume.Dir = c.fill.Dir
		if err := os.Mkdir(c.fill.Dir, 0o755); err != nil {
			return err
		}
		if _, err := ask(ctx, c.fill, ""); err != nil {
			return fmt.Errorf("%s: fill: %w", c.name, err)
		}
		began := time.Now()
		profile := ""
		if s.profile != "" {
			profile = s.profile + fmt.Sprint("memory-", i)
		}
		got, err := ask(ctx, c.consume, profile)
		if err != nil {
			return fmt.Errorf("%s: consume: %w", c.name, err)
		}
		fmt.Printf("| %s | %s | %.0f | %d | %d | %d |\n", c.name,
			count(float64(c.consume.Events)/time.Since(began).Seconds()), got.PeakMB,
			got.Count["handled"], got.Count["dead"], got.Count["parked"])
		if got.PeakMB > memoryLimitMB {
			failed = append(failed,
				fmt.Errorf("%s: %.0f MB were resident, more than %d", c.name, got.PeakMB, memoryLimitMB))
		}
		if got.PeakMB == 0 {
			failed = append(failed, errors.New("this system does not tell how much memory was resident: run it on Linux"))
		}
		for what, want := range c.want {
			if got.Count[what] != want {
				failed = append(failed, fmt.Errorf("%s: %s %d, want %d", c.name, what, got.Count[what], want))
			}
		}
		if err := os.RemoveAll(c.fill.Dir); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}
