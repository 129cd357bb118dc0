package filelog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// [publish]

// Publish implements [driver.Conn].
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	receipts, err := do(ctx, c, "publish", func(l *Log) ([]driver.Receipt, error) {
		receipts := make([]driver.Receipt, len(batches))
		for i := range batches {
			b, r := &batches[i], &receipts[i]
			p, err := l.accept(b)
			if err == nil && len(b.Messages) > 0 {
				if err = p.append(b.Messages); err == nil {
					r.Stored, r.Last = len(b.Messages), driverkit.Position(p.last)
				}
			}
			if err != nil {
				r.Err = fmt.Errorf("filelog: publish to %s partition %d: %w", b.Topic, b.Partition, err)
			}
		}
		l.published.Notify()
		return receipts, nil
	})
	return receipts, driverkit.Unsent(err)
}

// accept returns where a batch belongs, or refuses it before anything is written.
func (l *Log) accept(b *driver.Batch) (*partition, error) {
	t, err := l.topic(b.Topic)
	switch {
	case err != nil:
		return nil, err
	case b.Generation != 0 && b.Generation != t.kept.Generation:
		return nil, fmt.Errorf("%w: the topic is in generation %d, the batch for %d",
			driver.ErrRefused, t.kept.Generation, b.Generation)
	case b.Partition < 0 || b.Partition >= len(t.parts):
		return nil, fmt.Errorf("%w: the topic has %d partitions", driver.ErrRefused, len(t.parts))
	}
	for i := range b.Messages {
		switch m := &b.Messages[i]; {
		case len(m.Data) > maxData:
			return nil, fmt.Errorf("%w: event %s has %d bytes of data (at most %d)",
				driver.ErrRefused, m.ID, len(m.Data), maxData)
		case !m.NotBefore.IsZero():
			return nil, fmt.Errorf("%w: event %s is delayed, which a file does not keep", driver.ErrRefused, m.ID)
		}
	}
	return t.parts[b.Partition], nil
}

// [publish]

// subscription is one seat of a group, and where it reads.
type subscription struct {
	conn   *Conn
	topic  *topic
	group  string
	seat   *driverkit.Seat
	closed chan struct{}
	once   sync.Once

	// Receive alone uses these.
	reading map[int]*reading
	turn    int // whose turn it is to be first, so that no partition starves
}

// reading is where a partition is read.
type reading struct {
	place         // of the line that has the next event
	fetched int64 // position
	wanted  bool  // by another member, so that nothing more is fetched
}

// Subscribe implements [driver.Conn].
func (c *Conn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	return do(ctx, c, "subscribe "+spec.Group+" to "+spec.Topic, func(l *Log) (driver.Subscription, error) {
		t, err := l.topic(spec.Topic)
		if err != nil {
			return nil, err
		}
		if spec.Group == "" || spec.Lease <= 0 {
			return nil, fmt.Errorf("%w: a group needs a name and a lease", driver.ErrRefused)
		}
		g, err := t.group(spec.Group)
		if err != nil { // it is new
			g.Created = time.Now()
			if g.Parts, err = t.start(spec.From); err != nil {
				return nil, err
			}
		}
		g.Unsafe, g.Seen = slices.Clone(spec.Unsafe), time.Now()
		if err := t.put(spec.Group, &g); err != nil {
			return nil, err
		}
		c.joined++
		name := fmt.Sprintf("%s/%d", c.member, c.joined)
		l.seats[name] = &seat{conn: c, topic: t, group: spec.Group}
		s := &subscription{
			conn: c, topic: t, group: spec.Group, closed: make(chan struct{}), reading: make(map[int]*reading),
		}
		s.seat, err = c.keeper.Join(name, spec.Lease)
		return s, err
	})
}

// present returns the group, unless the subscription is closed or about what was deleted.
func (s *subscription) present() (group, error) {
	select {
	case <-s.closed:
		return group{}, driver.ErrClosed
	default:
		return s.topic.group(s.group)
	}
}

// [receive]

// Receive implements [driver.Subscription]. What wakes it is taken before it looks, so that
// nothing that happens in between is missed.
func (s *subscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		published, changed := s.conn.log.published.Wait(), s.seat.Changed()
		got, err := do(ctx, s.conn, "receive "+s.group, func(*Log) (driver.Received, error) { return s.poll(f) })
		if err != nil || got.Any() {
			return got, err
		}
		select {
		case <-published:
		case <-changed:
		case <-s.closed:
		case <-s.conn.ctx.Done():
		case <-ctx.Done():
		}
	}
}

// poll returns what there is to report now.
func (s *subscription) poll(f driver.Fetch) (got driver.Received, err error) {
	if _, err := s.present(); err != nil {
		return got, err
	}
	news := s.seat.News()
	got.Lost, got.Granted, got.Wanted = news.Lost, news.Granted, news.Wanted
	for _, p := range news.Lost {
		delete(s.reading, p)
	}
	for _, claim := range news.Granted {
		at, err := driverkit.ParsePosition(claim.Position)
		if err != nil {
			return got, err
		}
		s.reading[claim.Partition] = &reading{fetched: at}
	}
	for _, p := range news.Wanted {
		s.reading[p].wanted = true
	}
	if !news.Any() && !news.Paused { // claims that are lost wait for no fetch
		got.Deliveries, err = s.fetch(f)
	}
	return got, err
}

// [receive]

// fetch reads on, within the bounds of f.
func (s *subscription) fetch(f driver.Fetch) (out []driver.Delivery, err error) {
	parts, bytes, full := s.topic.parts, 0, f.Events < 1
	for i := 0; i < len(parts) && !full; i++ {
		p := (s.turn + i) % len(parts)
		r := s.reading[p]
		if r == nil || r.wanted || r.fetched == parts[p].last || slices.Contains(f.Full, p) {
			continue
		}
		r.place, err = parts[p].scan(r.place, func(d driver.Delivery) bool {
			n, _ := driverkit.ParsePosition(d.Position)
			if n <= r.fetched {
				return true
			}
			if full = len(out) == f.Events || len(out) > 0 && bytes+len(d.Data) > f.Bytes; full {
				return false
			}
			bytes += len(d.Data)
			out, r.fetched = append(out, d), n
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", p, err)
		}
		if full {
			s.turn = p + 1
		}
	}
	return out, nil
}

// [settle]

// Settle implements [driver.Subscription].
func (s *subscription) Settle(ctx context.Context, settlements []driver.Settlement) ([]int, error) {
	s.seat.Settling(settlements)
	lost, err := do(ctx, s.conn, "settle "+s.group, func(l *Log) (lost []int, err error) {
		g, err := s.present()
		if err != nil {
			return nil, err
		}
		for _, x := range settlements {
			position, err := driverkit.ParsePosition(x.Position)
			if err == nil && (x.Partition < 0 || x.Partition >= len(g.Parts) || position > s.topic.parts[x.Partition].last) {
				err = fmt.Errorf("%w: there is no position %d-%d", driver.ErrRefused, x.Partition, position)
			}
			if err != nil {
				return nil, err
			}
			p := &g.Parts[x.Partition]
			if p.Epoch != x.Epoch || p.Owner != s.seat.Name() {
				lost = append(lost, x.Partition)
				continue
			}
			p.Position = max(p.Position, position) // settlements may overtake each other
			p.Rate, p.Status = x.Rate, x.Status
			if x.Release {
				p.Owner, p.Unclean, p.Rate, p.Status = "", false, 0, ""
				defer l.moved()
			}
		}
		return lost, s.topic.put(s.group, &g)
	})
	s.seat.Settled(settlements, lost, err)
	return lost, err
}

// [settle]

// Close implements [driver.Subscription].
func (s *subscription) Close() (err error) {
	s.once.Do(func() {
		close(s.closed)
		if err = s.conn.keeper.Leave(s.conn.ctx, s.seat); s.conn.ctx.Err() != nil {
			err = nil // the connection's Close has left
		}
	})
	return err
}
