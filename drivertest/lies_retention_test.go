package drivertest_test

import (
	"context"
	"errors"

	"github.com/deedgo/deed/driver"
)

var retentionLies = []lie{
	{"sweeps nothing", "keep-removes-nothing-younger topic-bytes full-topic-goes-on", func(l *liar, _ *counter) {
		l.sweep = func(context.Context, string) (int64, error) { return 0, nil }
	}},
	{"miscounts what it removed", "keep-removes-nothing-younger", func(l *liar, _ *counter) {
		l.sweep = func(ctx context.Context, topic string) (int64, error) {
			n, err := l.Conn.Sweep(ctx, topic)
			return 2 * n, err
		}
	}},
	{"keeps half as long", "keep-removes-nothing-younger", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.Keep /= 2 }
	}},
	{"waits for no group", "keep-waits-for-groups", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.Hold = max(s.Keep, 1) }
	}},
	{"removes the last", "keep-leaves-the-last", func(l *liar, _ *counter) {
		l.info = func(i *driver.TopicInfo) {
			if i.Events == 1 {
				i.Events = 0
			}
		}
	}},
	{"holds for ever", "hold-drops-and-counts", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.Hold = 0 }
	}},
	{"holds half as long", "hold-drops-and-counts", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.Hold /= 2 }
	}},
	{"hides what it drops", "hold-drops-and-counts", func(l *liar, _ *counter) {
		l.groups = func(gs []driver.GroupInfo) {
			for i := range gs {
				gs[i].Dropped = 0
			}
		}
	}},
	{"says nothing of what it drops", "hold-drops-and-counts", func(l *liar, _ *counter) {
		l.lag = func(ls []driver.PartitionLag) {
			for i := range ls {
				ls[i].Status = ""
			}
		}
	}},
	{"counts letters as dropped", "hold-spares-parked", func(l *liar, _ *counter) {
		l.groups = func(gs []driver.GroupInfo) {
			for i := range gs {
				ls, _ := l.Conn.List(context.Background(), driver.LetterFilter{Group: gs[i].Group, Topic: gs[i].Topic})
				gs[i].Dropped += int64(len(ls))
			}
		}
	}},
	{"has no bound", "full-topic-refuses full-topic-goes-on", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.MaxBytes = 0 }
	}},
	{"bounds what asks for none", "topic-bound-unless-none", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.MaxBytes = max(s.MaxBytes, 0) + 1<<20 }
	}},
	{"does not say who fills it", "full-topic-refuses", func(l *liar, _ *counter) {
		l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			rs, err := l.Conn.Publish(ctx, bs)
			for i := range rs {
				if errors.Is(rs[i].Err, driver.ErrFull) {
					rs[i].Err = driver.ErrFull
				}
			}
			return rs, err
		}
	}},
	{"stays full", "full-topic-goes-on", func(l *liar, n *counter) {
		l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			if n.noteOf(bs[0].Topic) != "" {
				return nil, driver.ErrFull
			}
			rs, err := l.Conn.Publish(ctx, bs)
			if len(rs) > 0 && errors.Is(rs[0].Err, driver.ErrFull) {
				n.note(bs[0].Topic, "full")
			}
			return rs, err
		}
	}},
	{"counts no bytes", "topic-bytes", func(l *liar, _ *counter) {
		l.info = func(i *driver.TopicInfo) { i.Bytes = 0 }
	}},
	{"begins generations anew", "topic-generation-never-repeats", func(l *liar, _ *counter) {
		l.info = func(i *driver.TopicInfo) { i.Generation = 1 }
		l.rebatched(func(b *driver.Batch) { b.Generation = 0 })
	}},
	{"leaves members of a deleted topic waiting", "members-of-a-deleted-topic", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			got, err := s.Receive(ctx, f)
			if errors.Is(err, driver.ErrNotFound) {
				<-ctx.Done()
				return got, ctx.Err()
			}
			return got, err
		}
	}},
}
