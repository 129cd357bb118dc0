package torture

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/deedgo/deed/driver"
)

// observedConn records which claims a member was granted and what it settled. It
// changes nothing.
type observedConn struct {
	driver.Conn
	rec *Recorder
}

// Unwrap lets driver.As find the engine's capabilities.
func (c *observedConn) Unwrap() driver.Conn { return c.Conn }

// Subscribe joins the group and observes the member.
func (c *observedConn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	s, err := c.Conn.Subscribe(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &observedSubscription{Subscription: s, group: spec.Group, topic: spec.Topic, rec: c.rec}, nil
}

type observedSubscription struct {
	driver.Subscription
	group, topic string
	rec          *Recorder
}

func (s *observedSubscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	r, err := s.Subscription.Receive(ctx, f)
	if len(r.Granted) > 0 {
		ops := make([]Op, 0, len(r.Granted))
		for _, c := range r.Granted {
			ops = append(ops, Op{Do: Grant, Group: s.group, Part: partOf(s.topic, c.Partition), Epoch: c.Epoch, Pos: c.Position,
				Run: c.Run, Quiet: c.Quiet})
		}
		s.rec.Record(ops...)
	}
	return r, err
}

func (s *observedSubscription) Settle(ctx context.Context, settlements []driver.Settlement) ([]int, error) {
	if len(settlements) > 0 && settlements[0].Position != "" {
		springAmbush()
	}
	since := time.Now().UnixNano()
	lost, err := s.Subscription.Settle(ctx, settlements)
	if err != nil {
		return lost, err
	}
	ops := make([]Op, 0, len(settlements))
	for _, t := range settlements {
		if !slices.Contains(lost, t.Partition) {
			ops = append(ops, Op{
				Do: Settle, Since: since, Group: s.group, Part: partOf(s.topic, t.Partition), Epoch: t.Epoch, Pos: t.Position,
			})
		}
	}
	if len(ops) > 0 {
		s.rec.Record(ops...)
	}
	return lost, nil
}

// springAmbush freezes the process if there is an ambush. It is the worst moment:
// what is settled next has been decided.
func springAmbush() {
	until := ambushUntil.Swap(0)
	if time.Now().UnixNano() >= until {
		return
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP); err != nil {
		panic(err)
	}
}

var _ driver.Conn = (*observedConn)(nil)
