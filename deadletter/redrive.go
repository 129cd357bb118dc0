package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// ErrStopped means that a redrive ended at RedriveOptions.StopAfter failures.
var ErrStopped = errors.New("stopped")

const (
	// lookPause is how often a redrive that counts failures looks what became of them.
	lookPause = 20 * time.Millisecond
	// maxOpen bounds how many redriven letters such a redrive keeps an eye on.
	maxOpen = 500
	// stepsPerSecond is how finely a rate is kept: a step is a write to the engine.
	stepsPerSecond = 20
)

// RedriveOptions configure Redrive. The zero value redrives at once.
type RedriveOptions struct {
	// Rate is how many letters are redriven a second; 0 means no limit. What waits
	// behind a letter follows it at the group's own speed.
	Rate float64
	// StopAfter ends the redrive with ErrStopped when so many of its letters are dead
	// again; 0 means never. It never has more letters under way than may still fail, so
	// that no more than these fail, and it waits for a member to have tried each.
	StopAfter int
	// DryRun counts only.
	DryRun bool
	// Progress is called now and then, from one goroutine.
	Progress func(RedriveProgress)
}

// RedriveProgress is how far a redrive is.
type RedriveProgress struct {
	Redriven int
	Failed   int // dead again; known with StopAfter
	Open     int // waiting for a member or for a retry; known with StopAfter
}

// Redrive gives dead letters to their groups again, by ID, which is the order of
// the events of a key, and returns how many. A nil f selects all. A letter that is
// dead again meanwhile is not given twice.
func Redrive(ctx context.Context, b *deed.Bus, f *Filter, o *RedriveOptions) (int, error) {
	letters, err := lettersOf(b)
	if err != nil {
		return 0, err
	}
	if o == nil {
		o = &RedriveOptions{}
	}
	if o.Rate < 0 || o.StopAfter < 0 {
		return 0, fmt.Errorf("redrive: rate %v, stop after %d (want 0 or more)", o.Rate, o.StopAfter)
	}
	r := &redriving{letters: letters, opts: *o, step: pageSize, started: time.Now(), open: make(map[int64]bool)}
	if o.Rate > 0 {
		r.step = min(max(int(o.Rate/stepsPerSecond), 1), pageSize)
	}
	for l, err := range list(ctx, b, f, driver.Dead) {
		if err != nil {
			return r.redriven, err
		}
		if o.DryRun {
			r.redriven++
			continue
		}
		if err := r.add(ctx, l.ID); err != nil {
			return r.redriven, err
		}
	}
	if err := r.flush(ctx); err != nil {
		return r.redriven, err
	}
	return r.redriven, r.finish(ctx)
}

// redriving is one call of Redrive.
type redriving struct {
	letters driver.Letters
	opts    RedriveOptions
	step    int // letters a write
	started time.Time

	ids      []int64        // to be marked
	open     map[int64]bool // marked, and what becomes of them matters
	untried  int            // of these, those that no member had yet
	redriven int
	failed   int
}

// add takes one letter, and waits while too many are under way.
func (r *redriving) add(ctx context.Context, id int64) error {
	for r.full() {
		if err := r.look(ctx); err != nil {
			return err
		}
		if r.full() {
			if err := pause(ctx, lookPause); err != nil {
				return err
			}
		}
	}
	if r.ids = append(r.ids, id); len(r.ids) == r.step || r.full() {
		return r.flush(ctx)
	}
	return nil
}

// full reports whether one more letter could be a failure too many.
func (r *redriving) full() bool {
	return r.opts.StopAfter > 0 && len(r.open)+len(r.ids) >= min(r.opts.StopAfter-r.failed, maxOpen)
}

// flush marks what was added, when the rate allows it.
func (r *redriving) flush(ctx context.Context) error {
	if len(r.ids) == 0 {
		return nil
	}
	if r.opts.Rate > 0 {
		due := r.started.Add(time.Duration(float64(r.redriven) / r.opts.Rate * float64(time.Second)))
		if err := pause(ctx, time.Until(due)); err != nil {
			return err
		}
	}
	n, err := r.letters.Redrive(ctx, r.ids)
	r.redriven += n
	if r.opts.StopAfter > 0 && err == nil {
		for _, id := range r.ids {
			r.open[id] = true
		}
		r.untried = len(r.open)
	}
	r.ids = r.ids[:0]
	r.tell()
	return err
}

// look finds out what became of the letters under way.
func (r *redriving) look(ctx context.Context) error {
	if len(r.open) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(r.open))
	for id := range r.open {
		ids = append(ids, id)
	}
	found, err := r.letters.List(ctx, driver.LetterFilter{IDs: ids, Limit: len(ids)})
	if err != nil {
		return err
	}
	clear(r.open)
	r.untried = 0
	for _, l := range found {
		switch l.State {
		case driver.Dead:
			r.failed++
			continue
		case driver.Redriven:
			r.untried++
		}
		r.open[l.ID] = true
	}
	r.tell()
	if r.failed >= r.opts.StopAfter {
		return fmt.Errorf("%w: %d of %d redriven letters are dead again", ErrStopped, r.failed, r.redriven)
	}
	return nil
}

// finish waits until a member has tried every letter, where failures are counted.
// A retry may come in minutes and is not waited for.
func (r *redriving) finish(ctx context.Context) error {
	for len(r.open) > 0 {
		if err := r.look(ctx); err != nil || r.untried == 0 {
			return err
		}
		if err := pause(ctx, lookPause); err != nil {
			return err
		}
	}
	return nil
}

func (r *redriving) tell() {
	if r.opts.Progress != nil {
		r.opts.Progress(RedriveProgress{Redriven: r.redriven, Failed: r.failed, Open: len(r.open)})
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
