package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// drain waits until every group is at the end of every partition and nothing in
// the side log can be tried any more, and returns what is there. There is no
// limit while it makes progress, since machines differ. When nothing has moved for
// Config.Stuck it records the lag and gives up: the checks will say what that means.
func (r *run) drain(ctx context.Context) ([]driver.Letter, error) {
	var last standing
	moved := time.Now()
	for {
		now, err := r.look(ctx)
		switch {
		case err != nil && time.Since(moved) > r.config.Stuck:
			return nil, err
		case err != nil: // the connection is of the time before the server was killed
			now = last
		case now.resting():
			r.config.Say("at rest: %s", now.summary())
			return now.letters, nil
		case now.summary() != last.summary():
			last, moved = now, time.Now()
		}
		if time.Since(moved) > r.config.Stuck {
			r.config.Say("nothing has moved for %v: %s", r.config.Stuck, now.summary())
			r.rec.Record(now.lagOps()...)
			return now.letters, nil
		}
		if err := waitUntil(ctx, time.Now().Add(100*time.Millisecond), r.cluster.check); err != nil {
			return nil, err
		}
	}
}

// empty waits until the outbox is empty, as drain does.
func (r *run) empty(ctx context.Context) error {
	if r.config.Load.Writers == 0 {
		return nil
	}
	db, err := openEffects(r.config.Effects)
	if err != nil {
		return err
	}
	defer closeEffects(db)
	box, err := openOutbox(ctx, db)
	if err != nil {
		return err
	}
	last, moved := -1, time.Now()
	for {
		n, err := box.Pending(ctx)
		switch {
		case err == nil && n == 0:
			r.config.Say("the outbox is empty")
			return nil
		case err == nil && n != last:
			last, moved = n, time.Now()
		}
		if time.Since(moved) > r.config.Stuck {
			r.rec.Record(Op{Do: Lag, Group: "outbox", N: int64(n), Err: fmt.Sprint(err)})
			return nil
		}
		if err := waitUntil(ctx, time.Now().Add(100*time.Millisecond), r.cluster.check); err != nil {
			return err
		}
	}
}

// standing is where the groups stand.
type standing struct {
	topics  int // how many there are
	lags    []driver.PartitionLag
	letters []driver.Letter
}

func (r *run) look(ctx context.Context) (standing, error) {
	groups, ok := driver.As[driver.Groups](r.bus.Conn())
	letters, ok2 := driver.As[driver.Letters](r.bus.Conn())
	if !ok || !ok2 {
		return standing{}, errors.New("the engine tells neither lag nor dead letters, so that no end can be seen")
	}
	s := standing{topics: len(r.config.Load.topics())}
	for _, topic := range r.config.Load.topics() {
		lags, err := groups.Lag(ctx, "", topic.Name())
		if err != nil {
			return standing{}, fmt.Errorf("look at the lag: %w", err)
		}
		s.lags = append(s.lags, slices.DeleteFunc(lags, func(l driver.PartitionLag) bool { return l.Group == Along })...)
	}
	for after := int64(0); ; {
		page, err := letters.List(ctx, driver.LetterFilter{After: after})
		if err != nil {
			return standing{}, fmt.Errorf("list the dead letters: %w", err)
		}
		if len(page) == 0 {
			return s, nil
		}
		s.letters = append(s.letters, page...)
		after = page[len(page)-1].ID
	}
}

// resting reports whether both groups handled what can be handled.
func (s standing) resting() bool {
	type membership struct{ group, topic string }
	there := map[membership]bool{}
	for _, l := range s.lags {
		there[membership{l.Group, l.Topic}] = l.Group != Replay
		if l.Events > 0 {
			return false
		}
	}
	delete(there, membership{Replay, topic.Name()})
	return len(there) == 2*s.topics && !s.trying()
}

// trying reports whether the side log holds anything but dead letters and what is
// behind them, which wait for somebody to act.
func (s standing) trying() bool {
	dead := map[string]bool{}
	for _, l := range s.letters {
		if l.State == driver.Dead {
			dead[l.Group+"/"+l.Key] = true
		}
	}
	for _, l := range s.letters {
		switch l.State {
		case driver.Waiting, driver.Redriven:
			return true
		case driver.Behind:
			if !dead[l.Group+"/"+l.Key] {
				return true
			}
		}
	}
	return false
}

// summary differs when anything has moved.
func (s standing) summary() string {
	var events int64
	positions := ""
	for _, l := range s.lags {
		events += l.Events
		positions += " " + l.Position
	}
	states := map[driver.LetterState]int{}
	attempts := 0
	for _, l := range s.letters {
		states[l.State]++
		attempts += l.Attempts
	}
	return fmt.Sprintf("%d events behind, positions%s, letters %v after %d attempts", events, positions, states, attempts)
}

func (s standing) lagOps() []Op {
	var ops []Op
	for _, l := range s.lags {
		if l.Events > 0 {
			ops = append(ops, Op{
				Do: Lag, Group: l.Group, Part: partOf(l.Topic, l.Partition), Pos: l.Position, N: l.Events, Epoch: l.Epoch,
				Err: l.Status,
			})
		}
	}
	if len(ops) == 0 {
		ops = append(ops, Op{Do: Lag, Err: s.summary()})
	}
	return ops
}

func letterOps(do Do, letters []driver.Letter) []Op {
	var ops []Op
	for _, l := range letters {
		op := seen(do, l.Message.ID, l.Key, l.Data)
		op.Group, op.Part, op.Pos = l.Group, partOf(l.Topic, l.Partition), l.Position
		op.State, op.Err = string(l.State), l.Reason+" "+l.Error
		ops = append(ops, op)
	}
	return ops
}

// redrive gives the dead letters to their groups again.
func (r *run) redrive(ctx context.Context, letters []driver.Letter) error {
	var ids []int64
	for _, l := range letters {
		if l.State == driver.Dead {
			ids = append(ids, l.ID)
		}
	}
	admin, _ := driver.As[driver.Letters](r.bus.Conn())
	n, err := admin.Redrive(ctx, ids)
	if err != nil {
		return fmt.Errorf("redrive: %w", err)
	}
	if n != len(ids) {
		return fmt.Errorf("redrive marked %d of %d dead letters", n, len(ids))
	}
	return nil
}

// history collects what was recorded and what is there.
func (r *run) history(ctx context.Context) (*History, error) {
	ops, err := ReadOps(r.config.Dir, "*")
	if err != nil {
		return nil, err
	}
	effects, err := readEffects(ctx, r.config.Effects)
	if err != nil {
		return nil, err
	}
	ops = append(ops, effects...)
	var topicOps []Op
	for _, topic := range r.config.Load.topics() {
		if !r.bus.Features().Browse {
			along, err := r.storedAlong(ctx, topic.Name(), partitionsOf(topic))
			if err != nil {
				return nil, fmt.Errorf("read along topic %s: %w", topic.Name(), err)
			}
			topicOps = append(topicOps, along...)
			continue
		}
		for e, err := range r.bus.Read(ctx, topic.Name(), nil) {
			if err != nil {
				return nil, fmt.Errorf("read topic %s: %w", topic.Name(), err)
			}
			op := seen(Stored, e.ID, e.Key, e.Data)
			op.Time, op.Pos = time.Now().UnixNano(), e.Position
			op.Part = partOf(topic.Name(), partitionOf(e.Position))
			topicOps = append(topicOps, op)
		}
	}
	h := NewHistory(slices.Concat(ops, removed(ops, topicOps), topicOps))
	f := r.bus.Features()
	h.Dense, h.Again, h.Apart = f.DensePos, !f.Dedupe || !f.Sequence, !f.Browse
	return h, nil
}
