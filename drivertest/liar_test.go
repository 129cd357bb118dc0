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

func (l *liar) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	if l.create != nil {
		l.create(&s)
	}
	info, err := l.Conn.CreateTopic(ctx, name, s)
	if err == nil && l.info != nil {
		l.info(&info)
	}
	return info, err
}

func (l *liar) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	info, err := l.Conn.Topic(ctx, name)
	if err == nil && l.info != nil {
		l.info(&info)
	}
	return info, err
}

func (l *liar) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	infos, err := l.Conn.Groups(ctx)
	if l.groups != nil {
		l.groups(infos)
	}
	return infos, err
}

func (l *liar) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	if l.reset != nil {
		return l.reset(ctx, group, topic, r)
	}
	return l.Conn.ResetGroup(ctx, group, topic, r)
}

func (l *liar) Edit(ctx context.Context, id int64, e driver.Edit) error {
	if l.edit != nil {
		return l.edit(ctx, id, e)
	}
	return l.Conn.Edit(ctx, id, e)
}

func (l *liar) Sweep(ctx context.Context, topic string) (int64, error) {
	if l.sweep != nil {
		return l.sweep(ctx, topic)
	}
	return l.Conn.Sweep(ctx, topic)
}

func (l *liar) Park(ctx context.Context, c driver.Claim, ps []driver.Parked) error {
	if l.park != nil {
		c = l.park(c, ps)
	}
	return l.Conn.Park(ctx, c, ps)
}

func (l *liar) Unpark(ctx context.Context, c driver.Claim, positions []string) ([]string, error) {
	if l.unpark != nil {
		l.unpark(&c)
	}
	empty, err := l.Conn.Unpark(ctx, c, positions)
	if l.empty != nil {
		empty = l.empty(empty)
	}
	return empty, err
}

func (l *liar) SetMarks(ctx context.Context, c driver.Claim, ms []driver.Mark) error {
	if l.setMarks != nil {
		ms = l.setMarks(ms)
	}
	return l.Conn.SetMarks(ctx, c, ms)
}

func (l *liar) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	ls, err := l.Conn.List(ctx, f)
	if l.letters != nil {
		ls = l.letters(ls)
	}
	return ls, err
}

func (l *liar) Redrive(ctx context.Context, ids []int64) (int, error) {
	if l.redrive != nil {
		ids = l.redrive(ids)
	}
	return l.Conn.Redrive(ctx, ids)
}

func (l *liar) Discard(ctx context.Context, ids []int64) (int, error) {
	if l.discard != nil {
		ids = l.discard(ids)
	}
	return l.Conn.Discard(ctx, ids)
}

func (l *liar) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	lags, err := l.Conn.Lag(ctx, group, topic)
	if l.lag != nil {
		l.lag(lags)
	}
	return lags, err
}

func (l *liar) DeleteGroup(ctx context.Context, group, topic string) error {
	err := l.Conn.DeleteGroup(ctx, group, topic)
	if l.deleteGroup != nil {
		err = l.deleteGroup(err)
	}
	return err
}

func (l *liar) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	if l.pause != nil {
		paused = l.pause(paused)
	}
	return l.Conn.PauseGroup(ctx, group, topic, paused)
}

func (l *liar) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	if l.page != nil {
		l.page(&p)
	}
	return l.Conn.Browse(ctx, p)
}

func (l *liar) Seek(ctx context.Context, topic string, partition int, t time.Time) (string, error) {
	if l.seek != nil {
		l.seek(&t)
	}
	return l.Conn.Seek(ctx, topic, partition, t)
}

func (l *liar) Compare(a, b string) (int, error) {
	if l.compare != nil {
		return l.compare(a, b)
	}
	return l.Conn.Compare(a, b)
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
