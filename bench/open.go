package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	openPublishers = 8   // take what is there, at most a batch
	openBatch      = 256 // as a service does that gathers while it waits
	// openGrace is how long events may still arrive after the last was published.
	openGrace = 5 * time.Second
	// openWarm is the part of the run that is not measured.
	openWarm = 0.2
)

// openLoop hands over events at a rate and measures how long each takes until its
// handler sees it. The clock of an event starts when it is handed over, whether a
// publisher is free or not, so a slow system cannot hide its queue.
func openLoop(ctx context.Context, r request) (sample, error) {
	sys := systemNamed(r.System)
	if sys == nil {
		return sample{}, fmt.Errorf("no system is called %q", r.System)
	}
	n := int(float64(r.Rate) * r.Seconds)
	l := &latencies{start: time.Now(), took: make([]time.Duration, 0, n), all: make(chan struct{}), want: n}
	s, err := sys.start(ctx, r.Dir, l.arrived)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan event, n) // never full: the generator waits for nobody
	var publishers sync.WaitGroup
	for range openPublishers {
		publishers.Go(func() {
			if err := publishQueued(ctx, queue, s.publish); err != nil {
				cancel(err)
			}
		})
	}
	m := startMeter(s)
	late := generate(ctx, r.Rate, n, l, queue)
	close(queue)
	grace := time.NewTimer(openGrace)
	defer grace.Stop()
	select {
	case <-l.all:
	case <-grace.C:
		cancel(nil)
	case <-ctx.Done():
	}
	used := m.read(n)
	publishers.Wait()
	if err := context.Cause(ctx); err != nil && err != context.Canceled {
		return sample{}, err
	}
	out := l.summary()
	out.CPU, out.ServerCPU, out.Late = used.CPU, used.ServerCPU, quantile(late, 0.99)
	return out, s.stop()
}

// generate hands over events evenly and returns how late each was.
func generate(ctx context.Context, rate, n int, l *latencies, queue chan<- event) []time.Duration {
	const nap = 50 * time.Microsecond
	feed := newFeed()
	late := make([]time.Duration, 0, n)
	begin := time.Now()
	for i := 0; i < n && ctx.Err() == nil; {
		due := int(time.Since(begin).Seconds()*float64(rate)) + 1
		for ; i < min(due, n); i++ {
			late = append(late, time.Since(begin)-time.Duration(float64(i)/float64(rate)*1e9))
			queue <- feed.stamped(i, int64(time.Since(l.start)))
		}
		next := begin.Add(time.Duration(float64(i) / float64(rate) * 1e9))
		time.Sleep(max(time.Until(next), nap))
	}
	return late
}

// publishQueued publishes what is queued, as much at once as there is.
func publishQueued(
	ctx context.Context, queue <-chan event, publish func(context.Context, []event) error,
) error {
	for {
		var batch []event
		select {
		case e, ok := <-queue:
			if !ok {
				return nil
			}
			batch = append(batch, e)
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(batch) < openBatch; {
			select {
			case e, ok := <-queue:
				if more = ok; ok {
					batch = append(batch, e)
				}
			default:
				more = false
			}
		}
		if err := publish(ctx, batch); err != nil && ctx.Err() == nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
}

// latencies gathers how long events took.
type latencies struct {
	start time.Time // what stamps count from
	want  int
	all   chan struct{} // closed when all have arrived

	mu   sync.Mutex
	took []time.Duration
}

func (l *latencies) arrived(data []byte) {
	d := time.Since(l.start) - time.Duration(stampOf(data))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == l.want {
		return // delivered again
	}
	l.took = append(l.took, d)
	if len(l.took) == l.want {
		close(l.all)
	}
}

func (l *latencies) summary() sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := sample{Events: len(l.took), InTime: 100 * float64(len(l.took)) / float64(l.want)}
	measured := l.took[min(len(l.took), int(openWarm*float64(l.want))):]
	out.P50, out.P99, out.P999 = quantile(measured, 0.5), quantile(measured, 0.99), quantile(measured, 0.999)
	return out
}

// quantile returns the value that a part q of ds does not exceed. It sorts ds.
func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(q*float64(len(ds))))]
}
