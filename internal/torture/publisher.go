package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// Load is how much work a run does.
type Load struct {
	Keys    int // of each publisher
	Lanes   int // concurrent publish calls of each publisher; a key belongs to one
	Batch   int // most events in a call
	Rate    int // events a second of each publisher, at most
	Backlog int // publishers wait while a group is further behind than this
	Writers int // processes that publish through an outbox, and as many relays; 0

	SlowIn int           // one event in so many dwells in the plain group's handler
	Slow   time.Duration // for so long
	Dwell  time.Duration // each effect keeps its transaction open for so long

	PoisonIn int           // one event in so many is poisoned, and dead letters are redriven all the time
	Keep     time.Duration // the topic keeps events for so long, and is swept all the time
	Reset    time.Duration // group Replay exists, and is reset so often
}

// Hard is a load with slow handlers in flight at any time, some of them in a transaction.
var Hard = Load{Writers: 2, SlowIn: 20, Slow: 400 * time.Millisecond, Dwell: 2 * time.Millisecond}

func (l Load) withDefaults() Load {
	l.Keys = cmp.Or(l.Keys, 40)
	l.Lanes = cmp.Or(l.Lanes, 2)
	l.Batch = cmp.Or(l.Batch, 16)
	l.Rate = cmp.Or(l.Rate, 200)
	l.Backlog = cmp.Or(l.Backlog, 500)
	l.SlowIn = cmp.Or(l.SlowIn, 100)
	l.Slow = cmp.Or(l.Slow, 50*time.Millisecond)
	return l
}

// publisher announces the events of its own keys, in order and without a gap. A
// call whose outcome is unknown, be it for an error or because a former life was
// killed in it, is made again with the same events before anything newer.
func publisher(ctx context.Context, job Job) error {
	former, err := ReadOps(job.Dir, job.Name+".*")
	if err != nil {
		return err
	}
	rec, err := NewRecorder(job.Dir, job.proc())
	if err != nil {
		return err
	}
	defer rec.Close()
	bus, err := openBus(ctx, job, rec)
	if err != nil {
		return err
	}
	defer bus.Close()

	p := &publishing{bus: bus, rec: rec, job: job}
	p.recall(former)
	errs := make([]error, job.Load.Lanes)
	var wg sync.WaitGroup
	wg.Go(func() { p.watchBacklog(ctx) })
	for lane := range job.Load.Lanes {
		wg.Go(func() { errs[lane] = p.lane(ctx, lane) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

type publishing struct {
	bus    *deed.Bus
	rec    *Recorder
	job    Job
	full   atomic.Bool  // a group is too far behind
	number atomic.Int64 // of the last call

	open map[int][]call // what former lives left without acknowledgement, by lane
	last sync.Map       // key → the version of its last event
}

// call is one call of Publish, under a number that it keeps when it is made again.
type call struct {
	number int64
	facts  []Fact
}

// key returns the name of one of the publisher's keys. Number i belongs to lane
// i modulo the number of lanes.
func (p *publishing) key(i int) string { return fmt.Sprintf("p%d-k%d", p.job.Slot, i) }

// fact makes an event of key i. One key of every other publisher has a poisoned
// event, and others as Load.PoisonIn says.
func (p *publishing) fact(i int, kv int64) Fact {
	poison := p.job.Slot%2 == 0 && i == poisonedKey && kv == poisonedKV
	f := newFact(p.key(i), kv, poison)
	if in := p.job.Load.PoisonIn; in > 0 && hash("poison "+f.id())%uint64(in) == 0 {
		f.Poison = true
	}
	return f
}

const (
	poisonedKey = 7
	poisonedKV  = 3
)

// recall finds the calls without acknowledgement, and how far each key got.
func (p *publishing) recall(former []Op) {
	index := map[string]int{}
	for i := range p.job.Load.Keys {
		index[p.key(i)] = i
	}
	calls := map[int64][]Fact{}
	for _, op := range former {
		p.number.Store(max(p.number.Load(), op.Call))
		switch op.Do {
		case Invoke:
			calls[op.Call] = append(calls[op.Call], p.fact(index[op.Key], op.KV))
			if last, ok := p.last.Load(op.Key); !ok || last.(int64) < op.KV {
				p.last.Store(op.Key, op.KV)
			}
		case OK:
			delete(calls, op.Call)
		}
	}
	p.open = map[int][]call{}
	for _, number := range slices.Sorted(maps.Keys(calls)) {
		facts := calls[number]
		lane := index[facts[0].Key] % p.job.Load.Lanes
		p.open[lane] = append(p.open[lane], call{number, facts})
	}
}

// lane makes one call after the other until ctx ends.
func (p *publishing) lane(ctx context.Context, lane int) error {
	for _, c := range p.open[lane] {
		if err := p.publish(ctx, c); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(p.job.Seed, uint64(p.job.Slot<<20|p.job.Life<<8|lane)))
	zipf := rand.NewZipf(r, 1.1, 4, uint64(p.job.Load.Keys/p.job.Load.Lanes-1))
	for ctx.Err() == nil {
		c := call{p.number.Add(1), make([]Fact, 1+r.IntN(p.job.Load.Batch))}
		for i := range c.facts {
			c.facts[i] = p.nextFact(int(zipf.Uint64())*p.job.Load.Lanes + lane)
		}
		p.rec.Record(c.ops(Invoke)...)
		if err := p.publish(ctx, c); err != nil {
			return err
		}
		wait := time.Second * time.Duration(len(c.facts)*p.job.Load.Lanes) / time.Duration(p.job.Load.Rate)
		for pause(ctx, wait) == nil && p.full.Load() {
			wait = 50 * time.Millisecond
		}
	}
	return nil
}

// nextFact makes the next event of key i, which only one lane asks for.
func (p *publishing) nextFact(i int) Fact {
	last, _ := p.last.LoadOrStore(p.key(i), int64(0))
	kv := last.(int64) + 1
	p.last.Store(p.key(i), kv)
	return p.fact(i, kv)
}

// stubborn is how long publish tries: a frozen process may block a file for as
// long as it is frozen, and what blocks for longer is a bug.
const stubborn = 2 * time.Minute

// publish makes the call until it is acknowledged, also when ctx ends meanwhile:
// what a publisher began it finishes.
func (p *publishing) publish(ctx context.Context, c call) error {
	ctx = context.WithoutCancel(ctx)
	deadline := time.Now().Add(stubborn)
	timeout := 30 * time.Second
	if c.number%50 == 0 {
		timeout = time.Millisecond // so little that the outcome may stay unknown
	}
	for {
		err := p.try(ctx, timeout, c)
		if err == nil {
			p.rec.Record(c.ops(OK)...)
			return nil
		}
		info := c.ops(Info)
		for i := range info {
			info[i].Err = err.Error()
		}
		p.rec.Record(info...)
		if time.Now().After(deadline) {
			return fmt.Errorf("publish %s: still failing after %v: %w", c.facts[0].id(), stubborn, err)
		}
		pause(ctx, 20*time.Millisecond)
		timeout = 30 * time.Second
	}
}

func (p *publishing) try(ctx context.Context, timeout time.Duration, c call) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	facts, drafts := factTypeOn(p.bus), make([]deed.Draft, len(c.facts))
	for i, f := range c.facts {
		drafts[i] = facts.New(f)
		drafts[i].ID = f.id()
	}
	return p.bus.Publish(ctx, drafts...)
}

func (c call) ops(do Do) []Op {
	ops := opsOf(do, c.facts)
	for i := range ops {
		ops[i].Call = c.number
	}
	return ops
}

// watchBacklog makes the lanes wait while a group is far behind, so that a run
// publishes as much as its machine can handle, and drains quickly at the end.
func (p *publishing) watchBacklog(ctx context.Context) {
	groups, ok := driver.As[driver.Groups](p.bus.Conn())
	for ok && pause(ctx, 300*time.Millisecond) == nil {
		lags, err := groups.Lag(ctx, "", topic.Name())
		if err != nil {
			continue // the next look may succeed, and this is a courtesy
		}
		behind := map[string]int64{}
		for _, l := range lags {
			behind[l.Group] += l.Events
		}
		p.full.Store(max(behind[Effects], behind[Plain]) > int64(p.job.Load.Backlog))
	}
}
