package deednats

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// store is the Conn as the keeper sees it. Leases are in the document of their group,
// claims in the journals of its partitions. A claim moves only if its owner and epoch are
// still those that were seen.
type store struct{ c *Conn }

var _ driverkit.Store = (*store)(nil)

// groupDoc is what is known of a group beside its partitions.
type groupDoc struct {
	Format  int             `json:"deed"`
	Created int64           `json:"created"`        // in microseconds, as all times here
	Left    int64           `json:"left,omitempty"` // when the last member left
	Paused  bool            `json:"paused,omitempty"`
	Run     int             `json:"run,omitempty"`
	Unsafe  []string        `json:"unsafe,omitempty"`
	Seats   map[string]seat `json:"seats,omitempty"`
	Deleted bool            `json:"deleted,omitempty"` // all that is left of it
}

// seat is a member's lease by the server's clock.
type seat struct {
	Until int64 `json:"until"`
	Lease int64 `json:"lease"`
}

// prune removes the seats that ran out.
func (d *groupDoc) prune(now int64) {
	for name, s := range d.Seats {
		if s.Until <= now {
			delete(d.Seats, name)
			d.Left = max(d.Left, s.Until-s.Lease)
		}
	}
}

// isThere is errGone for a group that was deleted, or never made.
func (d *groupDoc) isThere() error {
	if d.Format == 0 || d.Deleted {
		return errGone
	}
	return nil
}

// Renew implements [driverkit.Store].
func (s *store) Renew(ctx context.Context, lease time.Duration, seats []string) error {
	if err := s.c.askTime(ctx); err != nil {
		if s.c.lostAll(ctx, err) {
			return nil // which the view tells of
		}
		return err
	}
	for i, own := range s.c.own(seats) {
		if own.topic == nil {
			continue
		}
		fresh := false
		_, err := changeDoc(ctx, s.c, s.c.names.group(own.topic.life, own.group), func(d *groupDoc) error {
			if err := d.isThere(); err != nil {
				return err
			}
			now := s.c.now().UnixMicro()
			d.prune(now)
			if d.Seats == nil {
				d.Seats = make(map[string]seat)
			}
			_, seated := d.Seats[seats[i]]
			fresh = !seated
			d.Seats[seats[i]] = seat{now + lease.Microseconds(), lease.Microseconds()}
			return nil
		})
		if err != nil && !errors.Is(err, errGone) { // a group that is gone the view tells of
			return err
		}
		if fresh {
			s.c.announce()
		}
	}
	return nil
}

// lostAll reports whether the stream that all topics share is gone, and not only away.
func (c *Conn) lostAll(ctx context.Context, err error) bool {
	if !errors.Is(err, errNoStream) {
		return false
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	_, err = c.js.Stream(ctx, c.names.meta())
	return code(err) == codeNoStream
}

// View implements [driverkit.Store].
func (s *store) View(ctx context.Context, seats []string) (map[string]driverkit.View, time.Duration, error) {
	views := make(map[string]driverkit.View, len(seats))
	lapse := time.Duration(0)
	for i, own := range s.c.own(seats) {
		if own.topic == nil {
			continue
		}
		v, next, err := s.c.view(ctx, own)
		if err != nil {
			return nil, 0, err
		}
		views[seats[i]] = v
		if next > 0 && (lapse == 0 || next < lapse) {
			lapse = next
		}
	}
	return views, lapse, nil
}

// view reads how one group stands, and when the next lease of another member ends.
func (c *Conn) view(ctx context.Context, own ownSeat) (v driverkit.View, lapse time.Duration, err error) {
	doc, _, err := readDoc[groupDoc](ctx, c, c.names.group(own.topic.life, own.group))
	if errors.Is(err, errNone) || code(err) == codeNoStream || err == nil && doc.isThere() != nil {
		return driverkit.View{Gone: true}, 0, nil
	}
	if err != nil {
		return v, 0, err
	}
	now := c.now().UnixMicro()
	doc.prune(now)
	v.Paused = doc.Paused
	for name, s := range doc.Seats {
		v.Seats = append(v.Seats, name)
		left := time.Duration(s.Until-now) * time.Microsecond
		if !strings.HasPrefix(name, c.member+"/") && (lapse == 0 || left < lapse) {
			lapse = left
		}
	}
	v.Shares = make([]driverkit.Share, len(own.topic.parts))
	err = eachPartition(own.topic, func(p int) error {
		return c.journal(own.topic, own.group, p).look(ctx, func(s *state) error {
			_, live := doc.Seats[s.Seat]
			v.Shares[p] = driverkit.Share{Partition: p, Owner: s.Seat, Live: live, Epoch: s.Epoch}
			return nil
		})
	})
	if code(err) == codeNoStream {
		return driverkit.View{Gone: true}, 0, nil
	}
	// What is not made yet is not to be had yet.
	v.Shares = slices.DeleteFunc(v.Shares, func(s driverkit.Share) bool { return s.Epoch == 0 })
	return v, lapse, err
}

// eachPartition calls f for every partition, at once.
func eachPartition(t *topic, f func(p int) error) error {
	errs := make([]error, len(t.parts))
	var done sync.WaitGroup
	for p := range t.parts {
		done.Go(func() { errs[p] = f(p) })
	}
	done.Wait()
	return errors.Join(errs...)
}

// Acquire implements [driverkit.Store].
func (s *store) Acquire(ctx context.Context, seat string, takes []driverkit.Take) ([]driver.Claim, error) {
	own := s.c.own([]string{seat})[0]
	if own.topic == nil {
		return nil, nil // it has left
	}
	claims := make([]driver.Claim, len(takes))
	errs := make([]error, len(takes))
	var done sync.WaitGroup
	for i, t := range takes {
		done.Go(func() { claims[i], errs[i] = s.c.acquire(ctx, own, seat, t) })
	}
	done.Wait()
	claims = slices.DeleteFunc(claims, func(c driver.Claim) bool { return c.Epoch == 0 })
	if len(claims) > 0 {
		s.c.announce()
	}
	return claims, errors.Join(errs...) // what was acquired then is found to be ours, and taken anew
}

// acquire takes a partition. The claim is zero when somebody else was faster.
func (c *Conn) acquire(
	ctx context.Context, own ownSeat, seat string, t driverkit.Take,
) (claim driver.Claim, err error) {
	j := c.journal(own.topic, own.group, t.Partition)
	took := false
	err = j.step(ctx, func(s *state) (*entry, error) {
		if took = s.Made && s.Seat == t.Owner && s.Epoch == t.Epoch; !took {
			return nil, nil
		}
		return &entry{Op: opAcquire, Seat: seat}, nil
	})
	if err != nil || !took {
		return driver.Claim{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state.Seat != seat { // taken away already
		return driver.Claim{}, nil
	}
	return j.state.claim(own.group, own.topic.info.Name, t.Partition), nil
}

// Leave implements [driverkit.Store].
func (s *store) Leave(ctx context.Context, seat string, unused []driver.Claim) error {
	own := s.c.own([]string{seat})[0]
	if own.topic == nil {
		return nil
	}
	for _, cl := range unused {
		err := s.c.journal(own.topic, own.group, cl.Partition).step(ctx, func(x *state) (*entry, error) {
			if x.Seat != seat || x.Epoch != cl.Epoch {
				return nil, nil
			}
			return &entry{Op: opFree, Clean: !cl.Suspect}, nil
		})
		if err != nil && !errors.Is(err, errNoStream) {
			return err
		}
	}
	return s.c.leave(ctx, seat, own)
}

// leave removes a seat. Its claims keep its name, so they are suspect.
func (c *Conn) leave(ctx context.Context, seat string, own ownSeat) error {
	_, err := changeDoc(ctx, c, c.names.group(own.topic.life, own.group), func(d *groupDoc) error {
		if err := d.isThere(); err != nil {
			return err
		}
		delete(d.Seats, seat)
		d.Left = c.now().UnixMicro()
		return nil
	})
	if errors.Is(err, errGone) || errors.Is(err, errNoStream) {
		return nil
	}
	c.announce()
	return err
}

// own returns what each seat of this connection is for.
func (c *Conn) own(seats []string) []ownSeat {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := make([]ownSeat, len(seats))
	for i, s := range seats {
		own[i] = c.seats[s]
	}
	return own
}

// announce tells all members to look again. One that does not hear it looks at its next
// renewal.
func (c *Conn) announce() { _ = c.nc.Publish(c.names.changes(), nil) }

// watch starts to hear what other connections announce. It ends with the connection.
func (c *Conn) watch() (err error) {
	c.watching.Do(func() {
		_, err = c.nc.Subscribe(c.names.changes(), func(*nats.Msg) { c.keeper.Nudge() })
	})
	return err
}
