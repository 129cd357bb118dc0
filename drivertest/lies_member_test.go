package drivertest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// memberLies are those of a group's members, and of what they are given.
var memberLies = []lie{
	{"hands out the publisher's bytes", "data-not-retained", func(l *liar, _ *counter) {
		var given sync.Map // by topic and id
		name := func(topic string, m *driver.Message) string { return topic + " " + m.ID }
		l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			for _, b := range bs {
				for i := range b.Messages {
					given.Store(name(b.Topic, &b.Messages[i]), b.Messages[i].Data)
				}
			}
			return l.Conn.Publish(ctx, bs)
		}
		var topic string
		l.spec = func(s *driver.SubscribeSpec) { topic = s.Topic }
		l.answered(func(r *driver.Received) {
			for i := range r.Deliveries {
				if data, ok := given.Load(name(topic, &r.Deliveries[i].Message)); ok {
					r.Deliveries[i].Data = data.([]byte)
				}
			}
		})
	}},
	{"stores what it accepted a little later", "accepted-outlives-its-connection", func(l *liar, _ *counter) {
		l.publish = func(_ context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			for i := range bs { // a copy: only the delay is the lie
				bs[i].Messages = slices.Clone(bs[i].Messages)
				for k := range bs[i].Messages {
					bs[i].Messages[k].Data = bytes.Clone(bs[i].Messages[k].Data)
				}
			}
			time.AfterFunc(10*time.Millisecond, func() { _, _ = l.Conn.Publish(context.Background(), bs) })
			rs := make([]driver.Receipt, len(bs))
			for i := range bs {
				rs[i].Stored = len(bs[i].Messages)
			}
			return rs, nil
		}
	}},
	{"fetches from one partition", "fetch-fair", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			f.Full = append(f.Full, 1, 2)
			return s.Receive(ctx, f)
		}
	}},
	{"shares one reading among all groups", "groups-are-independent", func(l *liar, _ *counter) {
		var asked string
		l.spec = func(s *driver.SubscribeSpec) { asked, s.Group = s.Group, "everybody" }
		l.claims(func(c *driver.Claim) { c.Group = asked })
	}},
	{"starts anew at every start", "start-only-once", func(l *liar, _ *counter) {
		l.spec = func(s *driver.SubscribeSpec) { _ = l.Conn.DeleteGroup(context.Background(), s.Group, s.Topic) }
	}},
	{"hands over what it wants at once", "wanted-is-not-fetched", func(l *liar, _ *counter) {
		var spec driver.SubscribeSpec
		l.spec = func(s *driver.SubscribeSpec) { spec = *s }
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			got, err := s.Receive(ctx, f)
			for _, p := range got.Wanted {
				_, _ = s.Settle(ctx, []driver.Settlement{
					{Partition: p, Epoch: l.present(ctx, spec.Group, spec.Topic, p), Release: true},
				})
			}
			return got, err
		}
	}},
	{"takes from members that do not call", "busy-member-is-kept", func(l *liar, _ *counter) {
		var timer *time.Timer
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			if timer != nil {
				timer.Stop()
			}
			got, err := s.Receive(ctx, f)
			timer = time.AfterFunc(time.Second, func() { _ = s.Close() })
			return got, err
		}
	}},
	{"settles any position", "position-never-goes-back", func(l *liar, n *counter) {
		l.settle = func(ctx context.Context, s driver.Subscription, xs []driver.Settlement) ([]int, error) {
			for _, x := range xs {
				if x.Position != "" {
					n.note(fmt.Sprint(x.Partition), x.Position)
				}
			}
			return s.Settle(ctx, xs)
		}
		l.claims(func(c *driver.Claim) {
			if c.Position != "" {
				c.Position = n.noteOf(fmt.Sprint(c.Partition))
			}
		})
	}},
	{"does not wake who waits", "close-wakes-receive", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			got, err := s.Receive(ctx, f)
			if errors.Is(err, driver.ErrClosed) {
				<-ctx.Done()
				return got, ctx.Err()
			}
			return got, err
		}
	}},
	{"has one side log for all groups", "side-log-of-its-partition", func(l *liar, _ *counter) {
		l.due = func(c driver.Claim, _ []driver.Letter) []driver.Letter {
			ls, _ := l.Conn.List(context.Background(), driver.LetterFilter{Topic: c.Topic})
			return ls
		}
	}},
	{"keeps the side log with its connection", "side-log-survives-hand-over", func(l *liar, _ *counter) {
		mine := false
		l.park = func(c driver.Claim, _ []driver.Parked) driver.Claim { mine = true; return c }
		l.due = func(_ driver.Claim, ls []driver.Letter) []driver.Letter {
			if !mine {
				return nil
			}
			return ls
		}
	}},
	{"revives what is delivered again", "park-behind-again", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, ps []driver.Parked) driver.Claim {
			ls, _ := l.Conn.List(context.Background(), driver.LetterFilter{Topic: c.Topic, Group: c.Group})
			for i := range ps {
				there := slices.ContainsFunc(ls, func(x driver.Letter) bool { return x.Position == ps[i].Position })
				if there && ps[i].State == driver.Behind {
					ps[i].State = driver.Waiting
				}
			}
			return c
		}
	}},
	{"numbers records anew", "park-replaces", func(l *liar, _ *counter) {
		l.letters = func(ls []driver.Letter) []driver.Letter {
			for i := range ls {
				ls[i].ID += int64(ls[i].Attempts)
			}
			return ls
		}
	}},
}

// adminLies are those of what is told about topics and groups.
var adminLies = []lie{
	{"changes a topic by creating it again", "topic-created-once", func(l *liar, _ *counter) {
		asked := 0
		l.create = func(s *driver.TopicSettings) { asked = s.Partitions }
		l.info = func(i *driver.TopicInfo) {
			if asked > 0 {
				i.Partitions = asked
			}
		}
	}},
	{"sets nothing", "topic-set", func(l *liar, _ *counter) {
		l.set = func(s *driver.TopicSettings) { s.Keep, s.Hold = driver.DefaultKeep, 0 }
	}},
	{"sets what is fixed", "topic-set", func(l *liar, _ *counter) {
		l.set = func(s *driver.TopicSettings) { s.Partitions, s.PartitionBy = 2, "key" }
	}},
	{"deletes nothing", "topic-deleted members-of-a-deleted-topic", func(l *liar, _ *counter) {
		l.deleteTopic = func() bool { return false }
	}},
	{"leaves holes", "dense-positions", func(l *liar, _ *counter) {
		l.browsed = func(ds []driver.Delivery) {
			for i := range ds {
				ds[i].Position += "0"
			}
		}
	}},
	{"turns ends round", "browse-ends", func(l *liar, _ *counter) {
		l.ends = func(ends []string) {
			if len(ends) > 2 {
				ends[1], ends[2] = ends[2], ends[1]
			}
		}
	}},
	{"hides members", "groups-listed", func(l *liar, _ *counter) {
		l.groups = func(gs []driver.GroupInfo) {
			for i := range gs {
				gs[i].Members = nil
			}
		}
	}},
	{"tells of every group", "lag-filters", func(l *liar, _ *counter) {
		l.lagOf = func(group, _ *string) { *group = "" }
	}},
	{"never calls a member gone", "frozen-member-is-seen", func(l *liar, _ *counter) {
		l.lag = func(ls []driver.PartitionLag) {
			for i := range ls {
				ls[i].Member, ls[i].MemberGone = "somebody", false
			}
		}
	}},
}
