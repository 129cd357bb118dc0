package drivertest_test

import (
	"context"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var delayLies = []lie{
	{"delays nothing", "delay-until-due delay-in-order delay-holds-nothing-back delay-is-counted",
		func(l *liar, _ *counter) {
			l.changed(func(m *driver.Message) { m.NotBefore = time.Time{} })
		}},
	{"comes early", "delay-until-due", func(l *liar, _ *counter) {
		l.delayed(func(m *driver.Message) { m.NotBefore = m.NotBefore.Add(-50 * time.Millisecond) })
	}},
	{"comes late", "delay-until-due", func(l *liar, _ *counter) {
		l.delayed(func(m *driver.Message) { m.NotBefore = m.NotBefore.Add(15 * time.Second) })
	}},
	{"counts what is scheduled as lag", "delay-until-due", func(l *liar, _ *counter) {
		l.lag = func(ls []driver.PartitionLag) {
			for i := range ls {
				if info, err := l.Conn.Topic(context.Background(), ls[i].Topic); err == nil {
					ls[i].Events += info.Scheduled
				}
			}
		}
	}},
	{"delays by whole seconds", "delay-in-order", func(l *liar, _ *counter) {
		l.delayed(func(m *driver.Message) { m.NotBefore = m.NotBefore.Truncate(time.Second).Add(time.Second) })
	}},
	{"turns round what is due at once", "delay-in-order", func(l *liar, n *counter) {
		l.delayed(func(m *driver.Message) { m.NotBefore = m.NotBefore.Add(-time.Duration(n.next())) })
	}},
	{"delays whole batches", "delay-holds-nothing-back", func(l *liar, _ *counter) {
		l.rebatched(func(b *driver.Batch) {
			for i := range b.Messages {
				b.Messages[i].NotBefore = b.Messages[0].NotBefore
			}
		})
	}},
	{"delays what is late", "delay-that-has-passed", func(l *liar, _ *counter) {
		l.changed(func(m *driver.Message) {
			if !m.NotBefore.IsZero() && m.NotBefore.Before(time.Now()) {
				m.NotBefore = time.Now().Add(time.Second)
			}
		})
	}},
	{"counts nothing scheduled", "delay-is-counted", func(l *liar, _ *counter) {
		l.info = func(i *driver.TopicInfo) { i.Scheduled = 0 }
	}},
	{"does not know what is next", "delay-is-counted", func(l *liar, _ *counter) {
		l.info = func(i *driver.TopicInfo) { i.NextDue = time.Time{} }
	}},
	{"keeps delayed events in the process", "delay-is-durable delay-ends-with-its-topic delay-is-counted",
		func(l *liar, _ *counter) {
			l.rebatched(func(b *driver.Batch) {
				b.Messages = slices.DeleteFunc(b.Messages, func(m driver.Message) bool {
					in := time.Until(m.NotBefore)
					if in <= 0 {
						return false
					}
					late := driver.Batch{Topic: b.Topic, Partition: b.Partition, Messages: []driver.Message{m}}
					time.AfterFunc(in, func() {
						_, _ = l.Conn.Publish(context.Background(), []driver.Batch{late})
					})
					return true
				})
			})
		}},
	{"has no sequence for delayed events", "delay-in-sequence", func(l *liar, _ *counter) {
		l.rebatched(func(b *driver.Batch) {
			if !b.Messages[0].NotBefore.IsZero() {
				b.Producer = ""
			}
		})
	}},
	{"has no id window for delayed events", "delay-in-the-id-window", func(l *liar, n *counter) {
		l.delayed(func(m *driver.Message) { m.Source += string(rune('a' + n.next()%26)) })
	}},
}

// delayed makes a publish that changes each message for later on its way in.
func (l *liar) delayed(change func(*driver.Message)) {
	l.changed(func(m *driver.Message) {
		if !m.NotBefore.IsZero() {
			change(m)
		}
	})
}
