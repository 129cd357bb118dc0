package drivertest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// lie is a way of breaking a promise. It must be caught by the checks that it names,
// and may be caught by others.
type lie struct {
	name     string
	caughtBy string
	prepare  func(*liar, *counter)
}

// lies are those about what every engine owes.
var lies = []lie{
	{"drops an event in a hundred", "nothing-skipped", func(l *liar, n *counter) {
		l.answered(func(r *driver.Received) {
			r.Deliveries = slices.DeleteFunc(r.Deliveries, func(driver.Delivery) bool { return n.next()%100 == 0 })
		})
	}},
	{"accepts what it does not store", "nothing-skipped", func(l *liar, n *counter) {
		l.rebatched(func(b *driver.Batch) {
			if n.next()%20 == 3 {
				b.Messages = b.Messages[:len(b.Messages)-1]
			}
		})
	}},
	{"does not say what it stored", "receipts", func(l *liar, _ *counter) {
		l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			rs, err := l.Conn.Publish(ctx, bs)
			for i := range rs {
				rs[i].Stored = 0
			}
			return rs, err
		}
	}},
	{"has positions with commas", "positions-are-text", func(l *liar, _ *counter) {
		l.answered(func(r *driver.Received) {
			for i := range r.Deliveries {
				r.Deliveries[i].Position += ",0"
			}
		})
	}},
	{"has positions of each group", "positions-are-text", func(l *liar, n *counter) {
		l.answered(func(r *driver.Received) {
			for i := range r.Deliveries {
				r.Deliveries[i].Position += strconv.Itoa(n.next())
			}
		})
	}},
	{"refuses all for one bad batch", "batches-fail-alone", func(l *liar, _ *counter) {
		l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			rs, err := l.Conn.Publish(ctx, bs)
			for _, r := range rs {
				if r.Err != nil {
					return nil, r.Err
				}
			}
			return rs, err
		}
	}},
	{"delivers twice", "nothing-skipped order-in-small-bites", func(l *liar, _ *counter) {
		l.answered(func(r *driver.Received) {
			if len(r.Deliveries) > 0 {
				r.Deliveries = append(r.Deliveries, r.Deliveries[0])
			}
		})
	}},
	{"stores retries again", "sequence-repeat sequence-overlap sequence-gap sequence-asked sequence-concurrent-retries",
		func(l *liar, _ *counter) {
			l.rebatched(func(b *driver.Batch) { b.Producer = "" })
		}},
	{"knows one sequence for all producers", "sequence-is-its-producers", func(l *liar, _ *counter) {
		l.rebatched(func(b *driver.Batch) {
			if b.Producer != "" {
				b.Producer = "all"
			}
		})
	}},
	{"has no id window", "dedupe-within-the-window dedupe-concurrent dedupe-ends-with-the-window topic-settings",
		func(l *liar, _ *counter) {
			l.create = func(s *driver.TopicSettings) { s.Dedupe = 0 }
		}},
	{"always has an id window", "no-window-no-dedupe", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.Dedupe = time.Hour }
	}},
	{"forgets ids too early", "dedupe-ends-with-the-window", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) { s.Dedupe /= 2 }
	}},
	{"deduplicates by id alone", "dedupe-within-the-window", func(l *liar, _ *counter) {
		l.changed(func(m *driver.Message) { m.Source = "/one" })
	}},
	{"reverses batches", "order-of-batches every-field receipts", func(l *liar, _ *counter) {
		l.rebatched(func(b *driver.Batch) { slices.Reverse(b.Messages) })
	}},
	{"puts a key anywhere", "order-of-a-key", func(l *liar, n *counter) {
		l.rebatched(func(b *driver.Batch) {
			if b.Partition < 4 && len(b.Messages) == 1 && strings.HasPrefix(b.Messages[0].Key, "key-") {
				b.Partition = n.next() % 3
			}
		})
	}},
	{"keeps whole seconds", "every-field browse-every-field", func(l *liar, _ *counter) {
		l.changed(func(m *driver.Message) { m.Time = m.Time.Truncate(time.Second) })
	}},
	{"ends data at a zero byte", "every-field", func(l *liar, _ *counter) {
		l.changed(func(m *driver.Message) { m.Data, _, _ = bytes.Cut(m.Data, []byte{0}) })
	}},
	{"drops empty attributes", "every-field", func(l *liar, _ *counter) {
		l.changed(func(m *driver.Message) {
			kept := make(map[string]string)
			for k, v := range m.Attributes {
				if v != "" {
					kept[k] = v
				}
			}
			m.Attributes = kept
		})
	}},
	{"cuts large data", "large-event", func(l *liar, _ *counter) {
		l.changed(func(m *driver.Message) { m.Data = m.Data[:min(len(m.Data), 1<<16)] })
	}},
	{"stores another generation's", "topic-generation", func(l *liar, _ *counter) {
		l.rebatched(func(b *driver.Batch) {
			if info, err := l.Topic(context.Background(), b.Topic); err == nil {
				b.Generation = info.Generation
			}
		})
	}},
	{"fetches more than asked for", "fetch-bounds", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			f.Events *= 2
			return s.Receive(ctx, f)
		}
	}},
	{"does not count bytes", "fetch-bounds fetch-oversized-alone",
		func(l *liar, _ *counter) {
			l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
				f.Bytes = 1 << 30
				return s.Receive(ctx, f)
			}
		}},
	{"fills full partitions", "fetch-full", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			f.Full = nil
			return s.Receive(ctx, f)
		}
	}},
	{"hides oversized events", "fetch-oversized-alone", func(l *liar, _ *counter) {
		l.answered(func(r *driver.Received) {
			r.Deliveries = slices.DeleteFunc(r.Deliveries, func(d driver.Delivery) bool { return len(d.Data) == 5000 })
		})
	}},
	{"loses what it fetches at the deadline", "receive-heeds-context", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
			defer cancel()
			got, err := s.Receive(late, f)
			if ctx.Err() != nil {
				return driver.Received{}, ctx.Err()
			}
			return got, err
		}
	}},
	{"polls every other second", "receive-wakes-up", func(l *liar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			got, err := s.Receive(ctx, f)
			if end, ok := ctx.Deadline(); err == nil && ok && time.Until(end) > 2*time.Second {
				<-time.After(time.Second)
			}
			return got, err
		}
	}},
	{"gives every member everything", "one-member-has-a-partition fair-share", func(l *liar, n *counter) {
		var asked string
		l.spec = func(s *driver.SubscribeSpec) {
			asked = s.Group
			s.Group += rand.Text()
		}
		l.answered(func(r *driver.Received) {
			for i := range r.Granted {
				r.Granted[i].Group = asked
			}
		})
	}},
	{"hoards", "fair-share clean-hand-over", func(l *liar, _ *counter) {
		l.answered(func(r *driver.Received) { r.Wanted = nil })
	}},
	{"calls everybody suspect", "clean-hand-over suspect-after-close", func(l *liar, _ *counter) {
		l.answered(func(r *driver.Received) {
			for i := range r.Granted {
				r.Granted[i].Suspect = true
			}
		})
	}},
	{"suspects nobody", "suspect-after-close suspect-after-lost-connection frozen-member-lapses",
		func(l *liar, _ *counter) {
			l.answered(func(r *driver.Received) {
				for i := range r.Granted {
					r.Granted[i].Suspect = false
				}
			})
		}},
	{"has one epoch", "epochs-grow", func(l *liar, _ *counter) {
		l.answered(func(r *driver.Received) {
			for i := range r.Granted {
				r.Granted[i].Epoch = 1
			}
		})
	}},
	{"settles under any epoch", "fenced-settle fenced-settle-in-part reset-fences-the-old-epoch",
		func(l *liar, _ *counter) {
			var spec driver.SubscribeSpec
			l.spec = func(s *driver.SubscribeSpec) { spec = *s }
			l.settle = func(ctx context.Context, s driver.Subscription, xs []driver.Settlement) ([]int, error) {
				for i := range xs {
					xs[i].Epoch = l.present(ctx, spec.Group, spec.Topic, xs[i].Partition)
				}
				return s.Settle(ctx, xs)
			}
		}},
	{"refuses all for one lost claim", "fenced-settle-in-part", func(l *liar, _ *counter) {
		l.settle = func(ctx context.Context, s driver.Subscription, xs []driver.Settlement) ([]int, error) {
			for _, x := range xs {
				if lost, err := s.Settle(ctx, []driver.Settlement{{Partition: x.Partition, Epoch: x.Epoch}}); len(lost) > 0 {
					return lost, err
				}
			}
			return s.Settle(ctx, xs)
		}
	}},
	{"parks under any epoch", "fenced-side-log", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, _ []driver.Parked) driver.Claim {
			c.Epoch = l.present(context.Background(), c.Group, c.Topic, c.Partition)
			return c
		}
	}},
	{"forgets to settle", "group-goes-on suspect-after-close lag-is-exact marks-end-with-settle",
		func(l *liar, _ *counter) {
			l.settle = func(ctx context.Context, s driver.Subscription, xs []driver.Settlement) ([]int, error) {
				for i := range xs {
					xs[i].Position = ""
				}
				return s.Settle(ctx, xs)
			}
		}},
	{"starts at the end", "start-at-the-beginning start-at-a-time start-at-a-cursor", func(l *liar, _ *counter) {
		l.spec = func(s *driver.SubscribeSpec) { s.From = driver.From{End: true} }
	}},
	{"starts at the beginning", "start-at-the-end start-at-a-time start-at-a-cursor", func(l *liar, _ *counter) {
		l.spec = func(s *driver.SubscribeSpec) { s.From = driver.From{} }
	}},
	{"creates topics for readers", "absent-topic", func(l *liar, _ *counter) {
		l.spec = func(s *driver.SubscribeSpec) {
			_, _ = l.CreateTopic(context.Background(), s.Topic, driver.TopicSettings{})
		}
	}},
	{"leaves what is behind", "behind-nothing-goes-on", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, ps []driver.Parked) driver.Claim {
			for i := range ps {
				if ps[i].State == driver.Behind {
					ps[i].State, ps[i].After = driver.Waiting, time.Hour
				}
			}
			return c
		}
	}},
	{"tries what is behind", "behind-waits-its-turn due-limit chain-in-order", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, ps []driver.Parked) driver.Claim {
			for i := range ps {
				if ps[i].State == driver.Behind {
					ps[i].State, ps[i].Key = driver.Waiting, ""
				}
			}
			return c
		}
	}},
	{"does not wait", "due-after-delay", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, ps []driver.Parked) driver.Claim {
			for i := range ps {
				ps[i].After = 0
			}
			return c
		}
	}},
	{"lets dead letters through", "dead-holds-its-key", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, ps []driver.Parked) driver.Claim {
			for i := range ps {
				ps[i].Aside = ps[i].State == driver.Dead
			}
			return c
		}
	}},
	{"has one record for all runs", "park-by-run", func(l *liar, _ *counter) {
		l.park = func(c driver.Claim, ps []driver.Parked) driver.Claim {
			for i := range ps {
				ps[i].Run = 0
			}
			return c
		}
	}},
	{"loses stacks", "park-keeps-everything", func(l *liar, _ *counter) {
		l.letters = func(ls []driver.Letter) []driver.Letter {
			for i := range ls {
				ls[i].Stack = ""
			}
			return ls
		}
	}},
	{"names no empty keys", "unpark-names-empty-keys", func(l *liar, _ *counter) {
		l.empty = func([]string) []string { return nil }
	}},
	{"forgets marks", "marks", func(l *liar, _ *counter) {
		l.setMarks = func([]driver.Mark) []driver.Mark { return nil }
	}},
	{"lists backwards", "letters-listed", func(l *liar, _ *counter) {
		l.letters = func(ls []driver.Letter) []driver.Letter { slices.Reverse(ls); return ls }
	}},
	{"redrives nothing", "letters-redriven letters-redriven-aside", func(l *liar, _ *counter) {
		l.redrive = func([]int64) []int64 { return nil }
	}},
	{"discards nothing", "letters-discarded", func(l *liar, _ *counter) {
		l.discard = func([]int64) []int64 { return nil }
	}},
	{"counts one too many", "lag-is-exact lag-sets-failures-apart", func(l *liar, _ *counter) {
		l.lag = func(ls []driver.PartitionLag) {
			for i := range ls {
				ls[i].Events++
			}
		}
	}},
	{"counts failures as lag", "lag-sets-failures-apart", func(l *liar, _ *counter) {
		l.lag = func(ls []driver.PartitionLag) {
			for i := range ls {
				ls[i].Events += ls[i].Dead
			}
		}
	}},
	{"knows no owner", "lag-names-the-owner", func(l *liar, _ *counter) {
		l.lag = func(ls []driver.PartitionLag) {
			for i := range ls {
				ls[i].Member = ""
			}
		}
	}},
	{"deletes groups that run", "group-deleted", func(l *liar, _ *counter) {
		l.deleteGroup = forgive(driver.ErrBusy)
	}},
	{"does not pause", "group-paused", func(l *liar, _ *counter) {
		l.pause = func(bool) bool { return false }
	}},
	{"browses one way", "browse-pages", func(l *liar, _ *counter) {
		l.page = func(p *driver.Page) { p.Backward = false }
	}},
	{"browses without limit", "browse-pages", func(l *liar, _ *counter) {
		l.page = func(p *driver.Page) { p.Limit = 1000 }
	}},
	{"seeks the beginning", "browse-seek", func(l *liar, _ *counter) {
		l.seek = func(t *time.Time) { *t = time.Time{} }
	}},
	{"compares positions as text", "browse-compare", func(l *liar, _ *counter) {
		l.compare = func(a, b string) (int, error) { return strings.Compare(a, b), nil }
	}},
	{"changes its promises", "features-never-change", func(l *liar, n *counter) {
		l.features = func() driver.Features {
			f := l.Conn.Features()
			f.MaxEventBytes = n.next()
			return f
		}
	}},
	{"promises what it has not", "features-are-implemented", func(l *liar, _ *counter) {
		l.features = func() driver.Features {
			f := l.Conn.Features()
			f.Fenced = false
			return f
		}
	}},
	{"accepts after its end", "use-after-close", func(l *liar, _ *counter) {
		l.publish = func(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
			rs, err := l.Conn.Publish(ctx, bs)
			if err != nil {
				return make([]driver.Receipt, len(bs)), nil
			}
			return rs, nil
		}
	}},
	{"panics", "every-field", func(l *liar, _ *counter) {
		l.publish = func(context.Context, []driver.Batch) ([]driver.Receipt, error) { panic("a bug") }
	}},
}
