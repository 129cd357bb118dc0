package filelog

import (
	"context"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// claims is what a Keeper knows of the log. The Keeper renews leases and divides a group's
// partitions among its members; claims is where that stands. Leases are in memory, since they
// end with the process. Who owns a partition is stored, so that the next process finds that
// its owner ended without a release.
type claims struct{ *Conn }

var _ driverkit.Store = claims{}

// seat is a subscription, as other members see it.
type seat struct {
	conn  *Conn
	topic *topic
	group string
	lease time.Duration
	until time.Time // the end of its lease
}

// live reports whether a seat is there.
func (l *Log) live(name string) bool {
	s := l.seats[name]
	return s != nil && time.Now().Before(s.until)
}

// silent reports whether the seat should have renewed its lease by now.
func (s *seat) silent() bool { return time.Until(s.until) < s.lease/2 }

// [claims]

// Renew implements [driverkit.Store].
func (c claims) Renew(ctx context.Context, lease time.Duration, seats []string) error {
	_, err := do(ctx, c.Conn, "renew", func(l *Log) (none struct{}, _ error) {
		for _, name := range seats {
			if !l.live(name) {
				l.moved() // there is one more to share with
			}
			l.seats[name].lease, l.seats[name].until = lease, time.Now().Add(lease)
		}
		return none, nil
	})
	return err
}

// View implements [driverkit.Store].
func (c claims) View(ctx context.Context, seats []string) (map[string]driverkit.View, time.Duration, error) {
	lapse := time.Duration(0)
	views, err := do(ctx, c.Conn, "view", func(l *Log) (map[string]driverkit.View, error) {
		views := make(map[string]driverkit.View)
		for _, name := range seats {
			s := l.seats[name]
			g, err := s.topic.group(s.group)
			v := driverkit.View{Gone: err != nil, Paused: g.Paused, Seats: l.members(s.topic, s.group)}
			for i, x := range g.Parts {
				share := driverkit.Share{Partition: i, Owner: x.Owner, Epoch: x.Epoch, Live: l.live(x.Owner)}
				v.Shares = append(v.Shares, share)
			}
			for _, other := range v.Seats {
				if left := time.Until(l.seats[other].until); other != name && (lapse == 0 || left < lapse) {
					lapse = max(left, 1)
				}
			}
			views[name] = v
		}
		return views, nil
	})
	return views, lapse, err
}

// Acquire implements [driverkit.Store].
func (c claims) Acquire(ctx context.Context, name string, takes []driverkit.Take) ([]driver.Claim, error) {
	return do(ctx, c.Conn, "acquire", func(l *Log) (out []driver.Claim, err error) {
		s := l.seats[name]
		g, err := s.topic.group(s.group)
		if err != nil {
			return nil, err
		}
		for _, take := range takes {
			x := &g.Parts[take.Partition]
			if x.Owner != take.Owner || x.Epoch != take.Epoch {
				continue // another member was faster
			}
			claim := driver.Claim{
				Group: s.group, Topic: s.topic.name, Partition: take.Partition,
				Epoch: l.next(), Position: driverkit.Position(x.Position), Suspect: x.Unclean,
			}
			x.Owner, x.Epoch, x.Unclean = name, claim.Epoch, true
			out = append(out, claim)
		}
		return out, s.topic.put(s.group, &g)
	})
}

// Leave implements [driverkit.Store].
func (c claims) Leave(ctx context.Context, name string, unused []driver.Claim) error {
	_, err := do(ctx, c.Conn, "leave", func(l *Log) (none struct{}, _ error) {
		s := l.seats[name]
		delete(l.seats, name)
		g, err := s.topic.group(s.group)
		if err != nil {
			return none, nil // it was deleted
		}
		for _, claim := range unused {
			if x := &g.Parts[claim.Partition]; x.Epoch == claim.Epoch {
				x.Unclean = claim.Suspect
			}
		}
		for i := range g.Parts {
			if x := &g.Parts[i]; x.Owner == name {
				x.Owner = ""
			}
		}
		defer l.moved()
		return none, s.topic.put(s.group, &g)
	})
	return err
}

// [claims]
