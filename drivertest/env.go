package drivertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	// patience is how long a check waits for what must happen. It is far above what
	// any engine needs, so that a busy machine fails nothing.
	patience = 30 * time.Second
	// lease is short, since checks wait for it to run out.
	lease = time.Second
	// turn is how long one member waits for news before it is the next one's turn.
	turn = 50 * time.Millisecond
	// roomy bounds a fetch where the bound is not the point.
	roomyEvents, roomyBytes = 1000, 8 << 20
)

// Env is the surroundings of one check: the engine, and topics of its own.
type Env struct {
	t        T
	harness  Harness
	conn     driver.Conn // the first member
	features driver.Features
	names    string
	topics   int
	epochs   map[string]int64 // last one seen, by group, topic and partition
	joined   map[string]int   // topics that have a group, with the generation that was published to
}

func newEnv(t T, h Harness) *Env {
	t.Helper()
	e := &Env{t: t, harness: h, epochs: make(map[string]int64), joined: make(map[string]int)}
	e.names = "deed-check-" + strings.ToLower(rand.Text()[:10])
	e.conn = e.open()
	e.features = e.conn.Features()
	return e
}

// open connects once more and closes the connection after the check.
func (e *Env) open() driver.Conn {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	c, err := e.harness.Open(ctx)
	if err != nil {
		e.t.Fatalf("open: %v", err)
	}
	e.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			e.t.Errorf("close: %v", err)
		}
	})
	return c
}

// capability finds T on the first connection; the check's Needs has promised it.
func capability[C any](e *Env) C {
	e.t.Helper()
	c, ok := driver.As[C](e.conn)
	if !ok {
		e.t.Fatalf("the engine does not implement %T", (*C)(nil))
	}
	return c
}

// on is capability for another connection.
func on[C any](e *Env, conn driver.Conn) C {
	e.t.Helper()
	c, ok := driver.As[C](conn)
	if !ok {
		e.t.Fatalf("the engine does not implement %T", (*C)(nil))
	}
	return c
}

// freshName returns a name that no topic has.
func (e *Env) freshName() string {
	e.topics++
	return fmt.Sprintf("%s-%d", e.names, e.topics)
}

// topic creates a topic and deletes it after the check.
func (e *Env) topic(s driver.TopicSettings) driver.TopicInfo {
	e.t.Helper()
	topics := capability[driver.Topics](e)
	name := e.freshName()
	e.deleteLater(name)
	info, err := topics.CreateTopic(e.t.Context(), name, s)
	if err != nil {
		e.t.Fatalf("create topic %s: %v", name, err)
	}
	return info
}

// deleteLater deletes the topic after the check, if it is there then.
func (e *Env) deleteLater(name string) {
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), patience)
		defer cancel()
		err := capability[driver.Topics](e).DeleteTopic(ctx, name)
		if errors.Is(err, driver.ErrClosed) { // the check opened the engine anew, and that is closed by now
			err = e.deleteAnew(ctx, name)
		}
		if err != nil && !errors.Is(err, driver.ErrNotFound) && !errors.Is(err, driver.ErrClosed) {
			e.t.Errorf("delete topic %s: %v", name, err)
		}
	})
}

// deleteAnew deletes a topic over a connection of its own.
func (e *Env) deleteAnew(ctx context.Context, name string) error {
	conn, err := e.harness.Open(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return on[driver.Topics](e, conn).DeleteTopic(ctx, name)
}

// message returns an event with every ordinary field set.
func message(id, key string) driver.Message {
	return driver.Message{
		ID: id, Source: "/deed/check", Type: "deed.checked", Version: 1, Key: key,
		Time: time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC), Data: []byte("data of " + id),
	}
}

// numbered returns n events with ids that count from first, and no key.
func numbered(first, n int) []driver.Message {
	ms := make([]driver.Message, n)
	for i := range ms {
		ms[i] = message(fmt.Sprint(first+i), "")
	}
	return ms
}

// batch is a plain append.
func batch(t driver.TopicInfo, partition int, ms ...driver.Message) driver.Batch {
	return driver.Batch{Topic: t.Name, Generation: t.Generation, Partition: partition, Messages: ms}
}

// produced is an append with a producer's sequence.
func produced(t driver.TopicInfo, producer string, seq int64, ms ...driver.Message) driver.Batch {
	b := batch(t, 0, ms...)
	b.Producer, b.Seq = producer, seq
	return b
}

// expect makes groups before anything is published to a topic, where a group gets only
// what comes after it.
func (e *Env) expect(info driver.TopicInfo, groups ...string) {
	e.t.Helper()
	if e.features.Backlog || !e.features.Groups {
		return
	}
	for _, group := range groups {
		e.join(e.conn, info.Name, group).close()
	}
	e.joined[info.Name] = info.Generation
}

// publish appends batches and fails the check when one is not accepted. Where that takes a
// group and the topic has none, it makes the one that checks use most.
func (e *Env) publish(conn driver.Conn, bs ...driver.Batch) []driver.Receipt {
	e.t.Helper()
	for i := range bs {
		b := &bs[i]
		if at, ok := e.joined[b.Topic]; !ok || at != 0 && b.Generation != 0 && at != b.Generation {
			e.expect(driver.TopicInfo{Name: b.Topic, Generation: b.Generation}, "group")
		}
		e.joined[b.Topic] = b.Generation
	}
	rs, err := tryPublish(e.t.Context(), conn, bs...)
	if err != nil {
		e.t.Fatalf("publish: %v", err)
	}
	return rs
}

// tryPublish is publish for goroutines, which cannot fail a check.
func tryPublish(ctx context.Context, conn driver.Conn, bs ...driver.Batch) ([]driver.Receipt, error) {
	rs, err := receipts(ctx, conn, bs...)
	for i := range rs {
		if err == nil && rs[i].Err != nil {
			err = fmt.Errorf("batch %d: %w", i, rs[i].Err)
		}
	}
	return rs, err
}

// receipts publishes and lets batches fail.
func receipts(ctx context.Context, conn driver.Conn, bs ...driver.Batch) (rs []driver.Receipt, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer asError(&err)
	rs, err = conn.Publish(ctx, bs)
	if err == nil && len(rs) != len(bs) {
		err = fmt.Errorf("%d receipts for %d batches", len(rs), len(bs))
	}
	return rs, err
}

// meanwhile runs f beside the check and returns what waits for its end. The check
// does not end before f does.
func (e *Env) meanwhile(f func() error) (wait func() error) {
	var err error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer asError(&err)
		err = f()
	})
	e.t.Cleanup(wg.Wait)
	return func() error {
		wg.Wait()
		return err
	}
}

// asError is deferred in what runs beside a check: there, a panic of the engine
// would end the program.
func asError(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

// publishErr appends one batch and returns what became of it.
func (e *Env) publishErr(b driver.Batch) error {
	rs, err := receipts(e.t.Context(), e.conn, b)
	if err == nil {
		err = rs[0].Err
	}
	return err
}

// wantErr fails the check unless err wraps target.
func (e *Env) wantErr(what string, err, target error) {
	e.t.Helper()
	if !errors.Is(err, target) {
		e.t.Errorf("%s: error %v, want one that wraps %q", what, err, target)
	}
}

// must fails the check on an error of a call that has to succeed.
func (e *Env) must(what string, err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%s: %v", what, err)
	}
}

// eventually polls until done, which must happen.
func (e *Env) eventually(what string, done func() bool) {
	e.t.Helper()
	tick := time.NewTicker(turn / 5)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			e.t.Fatalf("%s: not within %v", what, patience)
		}
		select {
		case <-tick.C:
		case <-e.t.Context().Done():
			e.t.Fatalf("%s: %v", what, e.t.Context().Err())
		}
	}
}
