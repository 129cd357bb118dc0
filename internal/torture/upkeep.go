package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
)

// Upkeep is work during which dead letters are redriven at a rate, the topic is swept
// and a group is reset, all the time.
var Upkeep = Load{
	PoisonIn: 200, Keep: 2 * time.Second, Reset: time.Second, SlowIn: 50, Slow: 200 * time.Millisecond, Rate: 100,
}

// shortenKeep makes the topic keep events for no longer than the load says.
func (r *run) shortenKeep(ctx context.Context) error {
	keep := r.config.Load.Keep
	if keep == 0 {
		return nil
	}
	topics, ok := driver.As[driver.Topics](r.bus.Conn())
	if !ok {
		return errors.New("the engine keeps topics as it likes")
	}
	_, err := topics.CreateTopic(ctx, topic.Name(), driver.TopicSettings{Partitions: 8, Dedupe: time.Hour, Keep: keep})
	return err
}

// during does fn, and beside it what people do to a bus in use: redrive dead letters
// and reset a group.
func (r *run) during(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	every := func(gap time.Duration, do func(ctx context.Context, n int) error) {
		wg.Go(func() {
			for n := 0; pause(ctx, gap) == nil; n++ {
				// What fails while a frozen process has the file's lock is tried again.
				if err := do(ctx, n); err != nil && ctx.Err() == nil {
					r.config.Say("upkeep: %v", err)
				}
			}
		})
	}
	if r.config.Load.PoisonIn > 0 {
		r.rec.Record(Op{Do: Lenient})
		every(100*time.Millisecond, r.redriveSome)
	}
	if gap := r.config.Load.Reset; gap > 0 {
		every(gap, r.reset)
	}
	err := fn(ctx)
	stop()
	wg.Wait()
	return err
}

// redriveSome redrives what is dead at the moment, at a rate.
func (r *run) redriveSome(ctx context.Context, _ int) error {
	n, err := deadletter.Redrive(ctx, r.bus, &deadletter.Filter{Topic: topic.Name()}, &deadletter.RedriveOptions{Rate: 50})
	if n > 0 {
		r.rec.Record(Op{Do: Redrive, N: int64(n)})
	}
	return err
}

// sweeping runs a topic's retention beside a consumer's groups, and dies with them.
type sweeping struct{ job Job }

// Run sweeps until ctx ends. It removes nothing before every group has joined: a group
// that is new starts at what is left.
func (s sweeping) Run(ctx context.Context, bus *deed.Bus) error {
	rec, err := NewRecorder(s.job.Dir, s.job.proc()+"-sweep")
	if err != nil {
		return err
	}
	defer rec.Close()
	groups, ok := driver.As[driver.Groups](bus.Conn())
	sweeper, ok2 := driver.As[driver.Sweeper](bus.Conn())
	if !ok || !ok2 {
		return errors.New("the engine removes nothing, so that a short keep tests nothing")
	}
	want := 2
	if s.job.Load.Reset > 0 {
		want = 3
	}
	for pause(ctx, 200*time.Millisecond) == nil {
		if all, err := groups.Groups(ctx); err != nil || len(all) < want {
			continue
		}
		// What fails while a frozen process has the file's lock is tried again.
		if n, err := sweeper.Sweep(ctx, topic.Name()); err == nil && n > 0 {
			rec.Record(Op{Do: Sweep, N: n})
		}
	}
	return nil
}

// reset takes group Replay back, every third time to the beginning, while its members
// run. Every other reset is quiet.
func (r *run) reset(ctx context.Context, n int) error {
	groups, ok := driver.As[driver.Groups](r.bus.Conn())
	if !ok {
		return errors.New("the engine cannot tell about groups")
	}
	lags, err := groups.Lag(ctx, Replay, topic.Name())
	if err != nil || len(lags) == 0 {
		return err // no member has started yet
	}
	to := deed.From{}
	if n%3 != 2 {
		to = deed.FromCursor(back(lags, 30))
	}
	o := deed.ResetOptions{Effects: n%2 == 0, Quiet: n%2 == 1, Fence: true}
	if err := r.bus.Reset(ctx, Replay, topic.Name(), to, o); err != nil {
		return err
	}
	r.rec.Record(Op{Do: Reset, Group: Replay, Quiet: o.Quiet})
	return nil
}

// back returns a cursor some events before where the group stands. It is never ahead
// of the group: that would be a reset forward, which leaves events out.
func back(lags []driver.PartitionLag, events int64) deed.Cursor {
	var parts []string
	for _, l := range lags {
		if n, ok := ordinal(l.Position); ok && n > events {
			parts = append(parts, fmt.Sprintf("%d-%d", l.Partition, n-events))
		}
	}
	return deed.Cursor(strings.Join(parts, ","))
}

// removed finds what retention took out of the topic, in order of position: it was
// delivered to somebody before that. Stored is what is left.
func removed(ops, stored []Op) []Op {
	if len(stored) == 0 {
		return nil
	}
	first := map[int]int64{}
	for _, op := range stored {
		if n, ok := ordinal(op.Pos); ok && first[op.Part] == 0 {
			first[op.Part] = n
		}
	}
	gone := map[place]Op{}
	for _, op := range ops {
		n, ok := ordinal(op.Pos)
		if op.Do != Deliver && op.Do != Letter || !ok || n >= first[op.Part] {
			continue
		}
		// Their time puts them before all that was read from the topic.
		gone[place{op.Part, n}] = Op{
			Time: stored[0].Time - 1, Do: Stored, ID: op.ID, Key: op.Key, KV: op.KV, Sum: op.Sum, Part: op.Part, Pos: op.Pos,
		}
	}
	var found []Op
	for _, op := range gone {
		found = append(found, op)
	}
	slices.SortFunc(found, func(a, b Op) int {
		n, _ := ordinal(a.Pos)
		m, _ := ordinal(b.Pos)
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(n, m))
	})
	return found
}
