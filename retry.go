package deed

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Retry says how often and when a failed event is tried again. The zero value is
// the default: 8 attempts over about ten minutes.
type Retry struct {
	// Attempts is how often the event is tried before it becomes a dead letter.
	// Zero means 8, Forever means that it never does.
	Attempts int
	// Min is the first delay; each one is three times the one before. Zero means
	// 500 ms.
	Min time.Duration
	// Max bounds the delay. Zero means 10 minutes.
	Max time.Duration
}

// Forever as Retry.Attempts tries an event until it succeeds.
const Forever = 1<<31 - 1

const backoffFactor = 3

func (r Retry) withDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = 8
	}
	if r.Min == 0 {
		r.Min = 500 * time.Millisecond
	}
	if r.Max == 0 {
		r.Max = 10 * time.Minute
	}
	return r
}

func (r Retry) validate() error {
	if r.Attempts < 1 || r.Min < 0 || r.Max < r.Min {
		return fmt.Errorf("Retry %+v (want Attempts ≥ 1 and 0 ≤ Min ≤ Max)", r)
	}
	return nil
}

// delay returns how long to wait after the given attempt, the first being 1, with
// a jitter of a fifth either way so that keys which failed together do not return
// together.
func (r Retry) delay(attempt int) time.Duration {
	d := r.Min
	for range attempt - 1 {
		if d *= backoffFactor; d >= r.Max {
			d = r.Max
			break
		}
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
