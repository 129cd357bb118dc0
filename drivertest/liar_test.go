package drivertest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// liar is an engine that keeps its promises but for those calls that have a lie. A
// nil function is the honest call.
type liar struct {
	*deedmem.Conn

	features    func() driver.Features
	publish     func(context.Context, []driver.Batch) ([]driver.Receipt, error)
	spec        func(*driver.SubscribeSpec)
	receive     func(context.Context, driver.Subscription, driver.Fetch) (driver.Received, error)
	settle      func(context.Context, driver.Subscription, []driver.Settlement) ([]int, error)
	create      func(*driver.TopicSettings)
	park        func(driver.Claim, []driver.Parked) driver.Claim
	empty       func([]string) []string
	setMarks    func([]driver.Mark) []driver.Mark
	letters     func([]driver.Letter) []driver.Letter
	lag         func([]driver.PartitionLag)
	deleteGroup func(error) error
	pause       func(bool) bool
	page        func(*driver.Page)
	seek        func(*time.Time)
	compare     func(a, b string) (int, error)
	redrive     func([]int64) []int64
	discard     func([]int64) []int64
	info        func(*driver.TopicInfo)
	groups      func([]driver.GroupInfo)
	reset       func(ctx context.Context, group, topic string, r driver.Reset) error
	unpark      func(*driver.Claim)
	edit        func(context.Context, int64, driver.Edit) error
	sweep       func(ctx context.Context, topic string) (int64, error)
	set         func(*driver.TopicSettings)
	deleteTopic func() bool
	due         func(driver.Claim, []driver.Letter) []driver.Letter
	lagOf       func(group, topic *string)
	browsed     func([]driver.Delivery)
	ends        func([]string)

	appendStream func(context.Context, driver.StreamBatch) (string, error)
	readStream   func(*driver.StreamPage)
	record       func(*driver.Record)
	records      func(prefix, after *string)
	putRecord    func(context.Context, driver.Record) (int64, error)
	deleteRecord func(ctx context.Context, name string, version int64) error
}

func (l *liar) Features() driver.Features {
	if l.features != nil {
		return l.features()
	}
	return l.Conn.Features()
}

func (l *liar) Publish(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
	if l.publish != nil {
		return l.publish(ctx, bs)
	}
	return l.Conn.Publish(ctx, bs)
}

func (l *liar) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	if l.spec != nil {
		l.spec(&spec)
	}
	sub, err := l.Conn.Subscribe(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &lyingSubscription{sub, l}, nil
}

type lyingSubscription struct {
	driver.Subscription
	liar *liar
}

func (s *lyingSubscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	if s.liar.receive != nil {
		return s.liar.receive(ctx, s.Subscription, f)
	}
	return s.Subscription.Receive(ctx, f)
}

func (s *lyingSubscription) Settle(ctx context.Context, xs []driver.Settlement) ([]int, error) {
	if s.liar.settle != nil {
		return s.liar.settle(ctx, s.Subscription, xs)
	}
	return s.Subscription.Settle(ctx, xs)
}

// present replaces a claim's epoch by the one that counts now, as an engine does
// that does not look.
func (l *liar) present(ctx context.Context, group, topic string, partition int) int64 {
	lags, err := l.Conn.Lag(ctx, group, topic)
	if err != nil {
		return 0
	}
	for _, lag := range lags {
		if lag.Partition == partition {
			return lag.Epoch
		}
	}
	return 0
}

// changed makes a publish that changes each message on its way in.
func (l *liar) changed(change func(*driver.Message)) {
	l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
		out := make([]driver.Batch, len(bs))
		for i, b := range bs {
			b.Messages = append([]driver.Message(nil), b.Messages...)
			for j := range b.Messages {
				change(&b.Messages[j])
			}
			out[i] = b
		}
		return l.Conn.Publish(ctx, out)
	}
}

// rebatched makes a publish that changes each batch on its way in.
func (l *liar) rebatched(change func(*driver.Batch)) {
	l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
		out := make([]driver.Batch, len(bs))
		for i, b := range bs {
			b.Messages = append([]driver.Message(nil), b.Messages...)
			change(&b)
			out[i] = b
		}
		return l.Conn.Publish(ctx, out)
	}
}

// answered makes a receive whose answer is changed on its way out.
func (l *liar) answered(change func(*driver.Received)) {
	l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
		got, err := s.Receive(ctx, f)
		if err == nil {
			change(&got)
		}
		return got, err
	}
}

// counter is what the connections of one engine share.
type counter struct {
	mu    sync.Mutex
	n     int
	noted map[string]string
}

// note keeps a value under a name.
func (c *counter) note(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noted == nil {
		c.noted = make(map[string]string)
	}
	c.noted[name] = value
}

func (c *counter) noteOf(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.noted[name]
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// forgive makes nil of an error.
func forgive(target error) func(error) error {
	return func(err error) error {
		if errors.Is(err, target) {
			return nil
		}
		return err
	}
}
