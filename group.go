package deed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// groupRun is a Subscription at work on a bus. Receivers, one per topic, put
// events into queues by key; workers take the heads; settlers, one per topic,
// store progress. All of them share the state below under one mutex, which is
// never held during I/O or a handler.
type groupRun struct {
	sub *Subscription
	bus *Bus
	log *slog.Logger
	// The contexts live as long as Run, whose parts share them.
	ctx  context.Context // its end starts the drain
	hctx context.Context // of the handlers: outlives ctx until the drain deadline

	topics []*topicRun

	mu              sync.Mutex
	work            sync.Cond // the queue has grown, or the group stops
	suspectWork     sync.Cond // a suspect event may be able to run
	queue           fifo[*keyQueue]
	timers          map[*time.Timer]struct{}
	stopping        bool
	running         int   // handlers at work
	suspectsWaiting int   // 1 while a suspect event waits for one of the Parallel slots
	bytes           int   // data of events fetched and not done
	fetched         int64 // events, ever
	err             error // why the group cannot go on
	idle            chan struct{}
}

// handler is a Handler with its middleware.
type handler struct {
	Handler
	call HandlerFunc
}

// Run is called by Bus.Run.
func (s *Subscription) Run(ctx context.Context, b *Bus) error {
	who := s.kind() + " " + s.group
	if err := s.check(b); err != nil {
		return fmt.Errorf("deed: %s: %w", who, err)
	}
	runCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	hctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	g := &groupRun{
		sub: s, bus: b, log: b.log.With(s.kind(), s.group), ctx: runCtx, hctx: hctx,
		timers: make(map[*time.Timer]struct{}), idle: make(chan struct{}, 1),
	}
	g.work.L, g.suspectWork.L = &g.mu, &g.mu
	if err := g.join(); err != nil {
		g.leave()
		if ctx.Err() != nil { // asked to stop before it had begun
			return nil
		}
		return fmt.Errorf("deed: %s: %w", who, err)
	}
	if err := g.loop(stop, cancel); err != nil {
		return fmt.Errorf("deed: %s: %w", who, err)
	}
	return nil
}

// check reports every mistake of the declaration, before anything starts.
func (s *Subscription) check(b *Bus) error {
	errs := []error{CheckName(s.kind(), s.group), s.opts.validate(), s.suits(b.features)}
	if len(s.handlers) == 0 {
		errs = append(errs, errors.New("no handlers"))
	}
	seen := make(map[[2]string]bool)
	for _, h := range s.handlers {
		if h.topic == nil || h.one == nil && h.batch == nil {
			errs = append(errs, errors.New("an empty Handler (make it with On, OnBatch or OnAny)"))
			continue
		}
		errs = append(errs, h.topic.validate())
		if h.batch != nil && h.maxBatch < 1 {
			errs = append(errs, fmt.Errorf("type %s: a batch of at most %d (want at least 1)", h.typeName, h.maxBatch))
		}
		at := [2]string{h.topic.name, h.typeName}
		if seen[at] {
			errs = append(errs, fmt.Errorf("topic %s: two handlers for type %q (a group has one; use two groups)",
				h.topic.name, h.typeName))
		}
		seen[at] = true
	}
	return errors.Join(append(errs, s.overlap())...)
}

// join makes the handlers and joins the group on each of its topics.
func (g *groupRun) join() error {
	side, err := g.sideLog()
	if err != nil {
		return err
	}
	from, err := g.sub.opts.From.driver()
	if err != nil {
		return err
	}
	byName := make(map[string]*topicRun)
	for _, h := range g.sub.handlers {
		t := byName[h.topic.name]
		if t == nil {
			if t, err = g.joinTopic(h.topic, from, side); err != nil {
				return err
			}
			byName[h.topic.name] = t
		}
		wrapped := g.wrap(h)
		if h.typeName == "" {
			t.any = wrapped
		} else {
			t.handlers[h.typeName] = wrapped
		}
	}
	return nil
}

func (g *groupRun) joinTopic(topic *Topic, from driver.From, side driver.SideLog) (*topicRun, error) {
	t := &topicRun{
		g: g, topic: topic, name: topic.name, side: side, log: g.log.With("topic", topic.name),
		handlers: make(map[string]*handler), parts: make(map[int]*partition),
		kick: make(chan struct{}, 1),
	}
	var err error
	if t.sub, err = t.join(g.ctx, from); err != nil {
		return nil, err
	}
	g.topics = append(g.topics, t)
	return t, nil
}

// unsafe names the types of a topic whose handlers are not replay-safe.
func (s *Subscription) unsafe(topic string) []string {
	var types []string
	for _, h := range s.handlers {
		if h.topic.name == topic && !h.replaySafe {
			types = append(types, h.typeName)
		}
	}
	return types
}

// wrap puts the middleware around a handler, the bus's outermost.
func (g *groupRun) wrap(h Handler) *handler {
	call := h.one
	if call == nil { // a batch of one, when its events have to run alone
		call = func(ctx context.Context, e Received[[]byte]) error {
			err := h.batch(ctx, []Received[[]byte]{e})
			var some BatchError
			if errors.As(err, &some) {
				return some[0]
			}
			return err
		}
	} else {
		call = chain(call, g.sub.opts.Middleware)
		call = chain(call, g.bus.opts.Middleware)
	}
	return &handler{Handler: h, call: call}
}

func chain(call HandlerFunc, ms []Middleware) HandlerFunc {
	for i := len(ms) - 1; i >= 0; i-- {
		call = ms[i](call)
	}
	return call
}

// loop runs the group until its context ends or it cannot go on, then drains.
func (g *groupRun) loop(stop, cancel context.CancelCauseFunc) error {
	var receivers, workers, settlers sync.WaitGroup
	settleCtx, endSettling := context.WithCancel(context.WithoutCancel(g.ctx))
	defer endSettling()
	for _, t := range g.topics {
		receivers.Go(func() { g.end(t.receive(g.ctx), stop) })
		settlers.Go(func() { t.settleLoop(settleCtx) })
		receivers.Go(func() { t.sweepLoop(g.ctx) })
	}
	workers.Go(g.workSuspects)
	for range g.sub.opts.Parallel {
		workers.Go(g.workLoop)
	}

	<-g.ctx.Done()
	receivers.Wait()
	g.halt()
	stuck := g.awaitHandlers(cancel)
	endSettling()
	settlers.Wait()
	g.leave()
	if stuck > 0 {
		return fmt.Errorf("%d handlers did not return when they were cancelled (they must heed their context)", stuck)
	}
	workers.Wait()
	return g.err
}

// end records why a receiver stopped and stops the others.
func (g *groupRun) end(err error, stop context.CancelCauseFunc) {
	if err == nil {
		return
	}
	g.mu.Lock()
	g.err = errors.Join(g.err, err)
	g.mu.Unlock()
	stop(err)
}

// halt lets no handler start any more.
func (g *groupRun) halt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = true
	for t := range g.timers {
		t.Stop()
	}
	g.work.Broadcast()
	g.suspectWork.Broadcast()
}

// cancelGrace is how long cancelled handlers get to return.
const cancelGrace = 5 * time.Second

// awaitHandlers waits for the running handlers, cancels them at the drain deadline
// and returns how many did not even return then.
func (g *groupRun) awaitHandlers(cancel context.CancelCauseFunc) int {
	deadline := time.NewTimer(g.bus.opts.Drain)
	defer deadline.Stop()
	cancelled := false
	for {
		g.mu.Lock()
		n := g.running
		g.mu.Unlock()
		if n == 0 {
			return 0
		}
		select {
		case <-g.idle:
		case <-deadline.C:
			if cancelled {
				return n
			}
			cancelled = true
			cancel(ErrStopping)
			deadline.Reset(cancelGrace)
		}
	}
}

// leave hands the partitions over and leaves the group on every topic.
func (g *groupRun) leave() {
	for _, t := range g.topics {
		t.leave()
	}
}

// workLoop runs tasks until the group stops.
func (g *groupRun) workLoop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		items, ok := g.next()
		if !ok {
			return
		}
		g.mu.Unlock()
		err := g.run(items)
		g.mu.Lock()
		g.finish(items, err)
		g.ended()
	}
}

// ended counts a handler's return. The caller holds g.mu.
func (g *groupRun) ended() {
	g.running--
	if g.suspectsWaiting > 0 {
		g.suspectWork.Signal()
	}
	if g.running == 0 && g.stopping {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// run calls the handler that items share.
func (g *groupRun) run(items []*item) (err error) {
	first := items[0]
	h, ctx := first.h, first.p.ctx
	if len(items) > 1 {
		var release func()
		ctx, release = taskContext(items)
		defer release()
	}
	if g.sub.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.sub.opts.Timeout)
		defer cancel()
	}
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack())}
		}
	}()
	if len(items) == 1 {
		if h.batch == nil {
			ctx = g.handling(ctx, first)
		}
		return h.call(ctx, g.received(first))
	}
	batch := make([]Received[[]byte], len(items))
	for i, it := range items {
		batch[i] = g.received(it)
	}
	return h.batch(ctx, batch)
}

// handling is the context of an item's handler.
func (g *groupRun) handling(ctx context.Context, it *item) context.Context {
	h := &it.handling
	if h.Context != nil { // somebody may still have that of an earlier try
		h = &handling{}
	}
	h.Context, h.message, h.group, h.quiet = ctx, &it.Message, g.sub.group, it.Replay && it.p.claim.Quiet
	return h
}

// taskContext ends when a partition of the task is lost or the drain deadline has
// passed.
func taskContext(items []*item) (context.Context, func()) {
	first := items[0].p
	var others []*partition
	for _, it := range items {
		if it.p != first && !slices.Contains(others, it.p) {
			others = append(others, it.p)
		}
	}
	if len(others) == 0 {
		return first.ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(first.ctx)
	stops := make([]func() bool, len(others))
	for i, p := range others {
		stops[i] = context.AfterFunc(p.ctx, func() { cancel(context.Cause(p.ctx)) })
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// received is what a handler sees of an item.
func (g *groupRun) received(it *item) Received[[]byte] {
	e := eventOf(&it.Message)
	return Received[[]byte]{Event: e, Data: e.Data, Delivery: Delivery{
		Topic: cmp.Or(it.Delivery.Topic, it.p.t.name), Group: g.sub.group, Position: it.at, Stored: it.Stored,
		Attempt: it.attempts + 1, Replay: it.Replay, Quiet: it.Replay && it.p.claim.Quiet, Run: it.p.claim.Run,
		Lease: g.bus.opts.Lease, held: it.p.holding,
	}}
}

type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }
