package deed

import (
	"testing"
	"testing/synctest"
	"time"
)

// Whoever waits for an engine to have something asks as often as it answers quickly, and leaves
// one alone that has to work for it.
func TestAskPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for took, want := range map[time.Duration]time.Duration{
			0: 20 * time.Millisecond, time.Millisecond: 20 * time.Millisecond, 10 * time.Millisecond: 90 * time.Millisecond,
			time.Second: 250 * time.Millisecond,
		} {
			began := time.Now()
			time.Sleep(took)
			if got := askPause(began, followPause); got != want {
				t.Errorf("after an answer that took %v the pause is %v, want %v", took, got, want)
			}
		}
	})
}
