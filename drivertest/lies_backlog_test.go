package drivertest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
)

// backlogLies are those of engines where a group gets only what comes after it.
var backlogLies = []lie{
	{"takes what no group gets", "no-backlog-no-pretence", func(l *liar, _ *counter) {
		queueing(l, nil)
		l.publish = nil
	}},
	{"starts a group in a past that it does not have", "no-backlog-no-pretence", func(l *liar, _ *counter) {
		queueing(l, nil)
		l.spec = func(s *driver.SubscribeSpec) { s.From = driver.From{End: true} }
	}},
	{"has a backlog after all", "no-backlog-no-pretence", func(l *liar, _ *counter) {
		queueing(l, nil)
		l.spec = nil
	}},
}

// queueing is an honest engine of queues: a group gets what comes after it, and what no group
// would get is not stored.
func queueing(l *liar, _ *counter) {
	l.features = func() driver.Features {
		f := l.Conn.Features()
		return driver.Features{
			Engine: f.Engine, Durability: f.Durability, KeyOrder: true, Groups: true, Fenced: true, SideLog: true, Lag: true,
			Records: true, MaxEventBytes: f.MaxEventBytes,
		}
	}
	l.spec = func(s *driver.SubscribeSpec) {
		if !s.From.Time.IsZero() || s.From.Cursor != nil {
			s.Group = "" // which is refused
		}
		s.From = driver.From{End: true}
	}
	l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
		receipts := make([]driver.Receipt, len(bs))
		for i := range bs {
			if receipts[i].Err = hasGroup(ctx, l, &bs[i]); receipts[i].Err != nil {
				continue
			}
			rs, err := l.Conn.Publish(ctx, bs[i:i+1])
			if err != nil {
				return nil, err
			}
			receipts[i] = rs[0]
		}
		return receipts, nil
	}
}

// hasGroup is ErrNotStored for a batch to a topic without groups. What else is wrong with
// one is said by others.
func hasGroup(ctx context.Context, l *liar, b *driver.Batch) error {
	t, err := l.Conn.Topic(ctx, b.Topic)
	if err != nil || b.Generation != 0 && b.Generation != t.Generation || b.Partition < 0 || b.Partition >= t.Partitions {
		return nil
	}
	groups, err := l.Conn.Groups(ctx)
	for _, g := range groups {
		if g.Topic == b.Topic {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("%w: topic %s has no groups", driver.ErrNotStored, b.Topic))
}
