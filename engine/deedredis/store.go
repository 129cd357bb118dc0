package deedredis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// store is the Conn as the keeper sees it. Leases lie with the topic, claims with
// their partitions; each call is atomic for what lies in one slot, which is enough:
// a claim moves only if its owner and epoch are still those that were seen.
type store struct{ c *Conn }

var _ driverkit.Store = (*store)(nil)

// Renew implements [driverkit.Store].
func (s *store) Renew(ctx context.Context, lease time.Duration, seats []string) error {
	calls := make([]call, len(seats))
	owns := s.c.own(seats)
	millis := strconv.FormatInt(lease.Milliseconds(), 10)
	for i, own := range owns {
		keys := []string{s.c.keys.group(own.topic, own.group), s.c.keys.seats(own.topic, own.group)}
		calls[i] = call{renewScript, keys, []string{seats[i], millis, own.unsafe}}
	}
	for i, r := range s.c.runAll(ctx, calls) {
		word, err := r.ToString()
		if err != nil {
			return err
		}
		if word == "new" {
			s.c.announce(ctx, owns[i].topic)
		}
	}
	return nil
}

// View implements [driverkit.Store].
func (s *store) View(ctx context.Context, seats []string) (map[string]driverkit.View, time.Duration, error) {
	views := make(map[string]driverkit.View, len(seats))
	lapse := time.Duration(0)
	for i, own := range s.c.own(seats) {
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
	live, paused, err := c.liveSeats(ctx, own.topic, own.group)
	if err != nil {
		return v, 0, err
	}
	if live == nil {
		return driverkit.View{Gone: true}, 0, nil
	}
	v.Paused = paused
	for seat, left := range live {
		v.Seats = append(v.Seats, seat)
		if !strings.HasPrefix(seat, c.member+"/") && (lapse == 0 || left.time < lapse) {
			lapse = left.time
		}
	}
	cmds := make(rueidis.Commands, own.partitions, own.partitions+1)
	for p := range cmds {
		cmds[p] = c.client.B().Hmget().Key(c.keys.claim(own.topic, p, own.group)).Field("seat", "epoch").Build()
	}
	cmds = append(cmds, c.client.B().Hmget().Key(c.keys.topic(own.topic)).Field("incarnation", "deleted").Build())
	var missing []int
	for p, r := range c.client.DoMulti(ctx, cmds...) {
		pair, err := r.AsStrSlice()
		if err != nil {
			return v, 0, err
		}
		if p == own.partitions {
			v.Gone = pair[0] != own.incarnation || pair[1] == "1"
			break
		}
		if pair[1] == "" {
			missing = append(missing, p)
			continue
		}
		epoch, err := strconv.ParseInt(pair[1], 10, 64)
		if err != nil {
			return v, 0, err
		}
		_, alive := live[pair[0]]
		v.Shares = append(v.Shares, driverkit.Share{Partition: p, Owner: pair[0], Live: alive, Epoch: epoch})
	}
	if len(missing) > 0 && !v.Gone {
		return v, lapse, c.replace(ctx, own, missing)
	}
	return v, lapse, nil
}

// leaseLeft is what is left of a seat's lease.
type leaseLeft struct {
	time time.Duration
	late bool // a renewal was missed: these come at a third of the lease
}

// liveSeats returns a group's seats that have not run out, nil when there is no such
// group.
func (c *Conn) liveSeats(ctx context.Context, topic, group string) (live map[string]leaseLeft, paused bool, err error) {
	m, err := c.run(ctx, seatsScript, []string{c.keys.group(topic, group), c.keys.seats(topic, group)})
	if err != nil {
		return nil, false, err
	}
	list, err := m.AsStrSlice()
	if err != nil || len(list) == 0 {
		return nil, false, err
	}
	live = make(map[string]leaseLeft, len(list)/3)
	for i := 1; i+2 < len(list); i += 3 {
		millis, err := strconv.ParseInt(list[i+1], 10, 64)
		if err != nil {
			return nil, false, err
		}
		lease, _ := strconv.ParseInt(list[i+2], 10, 64)
		live[list[i]] = leaseLeft{time.Duration(millis) * time.Millisecond, millis < lease/3}
	}
	return live, list[0] == "1", nil
}

// Acquire implements [driverkit.Store].
func (s *store) Acquire(ctx context.Context, seat string, takes []driverkit.Take) ([]driver.Claim, error) {
	own := s.c.own([]string{seat})[0]
	calls := make([]call, len(takes))
	for i, t := range takes {
		claim := s.c.keys.claim(own.topic, t.Partition, own.group)
		meta := s.c.keys.partition(own.topic, t.Partition)[1]
		calls[i] = call{acquireScript, []string{claim, meta}, []string{seat, t.Owner, strconv.FormatInt(t.Epoch, 10)}}
	}
	var claims []driver.Claim
	for i, r := range s.c.runAll(ctx, calls) {
		got, err := r.AsStrSlice()
		if err != nil {
			return claims, err // what was acquired before it is found to be ours, and taken anew
		}
		if len(got) == 0 {
			continue
		}
		claim, err := parseClaim(got)
		if err != nil {
			return claims, err
		}
		claim.Group, claim.Topic, claim.Partition = own.group, own.topic, takes[i].Partition
		claims = append(claims, claim)
	}
	if len(claims) > 0 {
		s.c.announce(ctx, own.topic)
	}
	return claims, nil
}

// parseClaim reads the answer of acquire.lua.
func parseClaim(got []string) (c driver.Claim, err error) {
	if len(got) < 5 {
		return c, fmt.Errorf("a claim of %d fields", len(got))
	}
	if c.Epoch, err = strconv.ParseInt(got[0], 10, 64); err != nil {
		return c, err
	}
	if c.Run, err = strconv.Atoi(got[3]); err != nil {
		return c, err
	}
	c.Position, c.Suspect, c.Quiet = got[1], got[2] == "1", got[4] == "1"
	return c, nil
}

// Leave implements [driverkit.Store].
func (s *store) Leave(ctx context.Context, seat string, unused []driver.Claim) error {
	own := s.c.own([]string{seat})[0]
	calls := make([]call, len(unused))
	for i, cl := range unused {
		calls[i] = call{freeScript, []string{s.c.keys.claim(own.topic, cl.Partition, own.group)},
			[]string{seat, strconv.FormatInt(cl.Epoch, 10), flag(!cl.Suspect)}}
	}
	for _, r := range s.c.runAll(ctx, calls) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return s.c.leave(ctx, seat, own)
}

// leave removes a seat. Its claims keep its name, so they are suspect.
func (c *Conn) leave(ctx context.Context, seat string, own ownSeat) error {
	if own.topic == "" {
		return nil // removed before
	}
	keys := []string{c.keys.group(own.topic, own.group), c.keys.seats(own.topic, own.group)}
	if _, err := c.run(ctx, leaveScript, keys, seat); err != nil {
		return err
	}
	c.announce(ctx, own.topic)
	return nil
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

// announce tells all members of a topic's groups to look again. One that does not hear
// it looks at its next renewal.
func (c *Conn) announce(ctx context.Context, topic string) {
	c.client.Do(ctx, c.client.B().Publish().Channel(c.keys.changes()).Message(topic).Build())
}

// watch starts to hear what other connections announce.
func (c *Conn) watch() {
	c.watching.Do(func() {
		c.done.Go(func() {
			for c.ctx.Err() == nil {
				c.keeper.Nudge() // something may have been missed
				subscribe := c.client.B().Subscribe().Channel(c.keys.changes()).Build()
				_ = c.client.Receive(c.ctx, subscribe, func(rueidis.PubSubMessage) { c.keeper.Nudge() })
				select { // the connection failed, or the server does not allow it
				case <-c.ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	})
}
