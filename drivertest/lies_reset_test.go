package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/deedgo/deed/driver"
)

var resetLies = []lie{
	{"resets to the start", "reset-to replay-is-nothing-new", func(l *liar, _ *counter) {
		l.resets(func(r *driver.Reset) { r.To = driver.From{} })
	}},
	{"resets what is not there", "reset-of-nothing", func(l *liar, _ *counter) {
		l.reset = func(ctx context.Context, group, topic string, r driver.Reset) error {
			return forgive(driver.ErrNotFound)(l.Conn.ResetGroup(ctx, group, topic, r))
		}
	}},
	{"resets in part", "reset-of-nothing", func(l *liar, _ *counter) {
		l.reset = func(ctx context.Context, group, topic string, r driver.Reset) error {
			err := l.Conn.ResetGroup(ctx, group, topic, r)
			if errors.Is(err, driver.ErrRefused) {
				return errors.Join(err, l.Conn.ResetGroup(ctx, group, topic, driver.Reset{}))
			}
			return err
		}
	}},
	{"always fences", "reset-waits-for-members", func(l *liar, _ *counter) {
		l.resets(func(r *driver.Reset) { r.Fence = true })
	}},
	{"never fences", "reset-fences reset-fences-the-old-epoch", func(l *liar, _ *counter) {
		l.resets(func(r *driver.Reset) { r.Fence = false })
	}},
	{"suspects the fenced", "reset-fences reset-fences-the-old-epoch", func(l *liar, _ *counter) {
		l.claims(func(c *driver.Claim) { c.Suspect = c.Suspect || c.Run > 0 })
	}},
	{"resets every group", "reset-of-one-group", func(l *liar, _ *counter) {
		l.reset = func(ctx context.Context, group, topic string, r driver.Reset) error {
			groups, _ := l.Conn.Groups(ctx)
			for _, g := range groups {
				if g.Group != group && g.Topic == topic {
					_ = l.Conn.ResetGroup(ctx, g.Group, topic, r)
				}
			}
			return l.Conn.ResetGroup(ctx, group, topic, r)
		}
	}},
	{"forgets what is unsafe", "unsafe-types-are-remembered", func(l *liar, _ *counter) {
		l.spec = func(s *driver.SubscribeSpec) { s.Unsafe = nil }
	}},
	{"tells no replays", "replay-is-what-was-committed replay-after-two-resets", func(l *liar, _ *counter) {
		l.replays(func(*driver.Delivery) bool { return false })
	}},
	{"calls all of a later run replays", "replay-is-what-was-committed replay-is-nothing-new", func(l *liar, n *counter) {
		l.resets(func(*driver.Reset) { n.next() })
		l.replays(func(*driver.Delivery) bool { return n.n > 0 })
	}},
	{"takes where a group was for what it committed", "replay-is-nothing-new replay-after-two-resets",
		func(l *liar, n *counter) {
			l.reset = func(ctx context.Context, group, topic string, r driver.Reset) error {
				lags, _ := l.Conn.Lag(ctx, group, topic)
				for _, lag := range lags {
					n.note(fmt.Sprint(group, lag.Partition), lag.Position)
				}
				return l.Conn.ResetGroup(ctx, group, topic, r)
			}
			l.replays(func(d *driver.Delivery) bool {
				at, _ := strconv.Atoi(d.Position)
				committed, _ := strconv.Atoi(n.noteOf(fmt.Sprint("group", d.Partition)))
				return at <= committed
			})
		}},
	{"is never quiet", "replay-in-its-run reset-fences", func(l *liar, _ *counter) {
		l.claims(func(c *driver.Claim) { c.Quiet = false })
	}},
	{"stays quiet", "replay-in-its-run", func(l *liar, n *counter) {
		l.claims(func(c *driver.Claim) { c.Quiet = c.Run > 0 })
	}},
	{"has one run", "replay-in-its-run reset-to", func(l *liar, _ *counter) {
		l.claims(func(c *driver.Claim) { c.Run = 0 })
	}},
	{"discards letters on reset", "reset-leaves-letters", func(l *liar, _ *counter) {
		l.reset = func(ctx context.Context, group, topic string, r driver.Reset) error {
			ls, _ := l.Conn.List(ctx, driver.LetterFilter{Group: group, Topic: topic})
			for _, letter := range ls {
				_, _ = l.Conn.Discard(ctx, []int64{letter.ID})
			}
			return l.Conn.ResetGroup(ctx, group, topic, r)
		}
	}},
	{"unparks the first run alone", "unpark-of-the-oldest-run", func(l *liar, _ *counter) {
		l.unpark = func(c *driver.Claim) { c.Run = 0 }
	}},
	{"edits nothing", "letter-edited letter-edited-is-redriven", func(l *liar, _ *counter) {
		l.edit = func(context.Context, int64, driver.Edit) error { return nil }
	}},
	{"forgets who edited", "letter-edited", func(l *liar, _ *counter) {
		l.edit = func(ctx context.Context, id int64, e driver.Edit) error {
			e.By = ""
			return l.Conn.Edit(ctx, id, e)
		}
	}},
	{"keeps what it put for what was", "letter-edited", func(l *liar, _ *counter) {
		l.letters = func(ls []driver.Letter) []driver.Letter {
			for i := range ls {
				for j := range ls[i].Edits {
					ls[i].Edits[j].Data = ls[i].Data
				}
			}
			return ls
		}
	}},
	{"edits what is being tried", "edit-of-dead-letters-only", func(l *liar, _ *counter) {
		l.edit = func(ctx context.Context, id int64, e driver.Edit) error {
			return forgive(driver.ErrRefused)(l.Conn.Edit(ctx, id, e))
		}
	}},
}

// resets makes a reset that changes what is asked for.
func (l *liar) resets(change func(*driver.Reset)) {
	l.reset = func(ctx context.Context, group, topic string, r driver.Reset) error {
		change(&r)
		return l.Conn.ResetGroup(ctx, group, topic, r)
	}
}

// claims makes a receive that changes what is granted.
func (l *liar) claims(change func(*driver.Claim)) {
	l.answered(func(r *driver.Received) {
		for i := range r.Granted {
			change(&r.Granted[i])
		}
	})
}

// replays makes a receive that decides what a replay is.
func (l *liar) replays(is func(*driver.Delivery) bool) {
	l.answered(func(r *driver.Received) {
		for i := range r.Deliveries {
			r.Deliveries[i].Replay = is(&r.Deliveries[i])
		}
	})
}
