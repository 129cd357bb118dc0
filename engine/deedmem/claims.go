package deedmem

import (
	"cmp"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// balance gives free partitions to the members that have too few, and asks those
// that have too many for the rest. Members keep what they have where they can. It
// runs whenever a member comes or goes or a partition becomes free.
func (g *group) balance() {
	if len(g.members) == 0 || g.topic.deleted {
		return
	}
	held := make(map[*Subscription]int, len(g.members))
	for _, r := range g.readings {
		if r.owner != nil && !r.wanted {
			held[r.owner]++
		}
	}
	// Where the partitions do not divide evenly, those who have more keep more.
	members := slices.Clone(g.members)
	slices.SortStableFunc(members, func(a, b *Subscription) int { return cmp.Compare(held[b], held[a]) })
	share := make(map[*Subscription]int, len(members))
	for i, m := range members {
		share[m] = len(g.readings) / len(members)
		if i < len(g.readings)%len(members) {
			share[m]++
		}
		if surplus := held[m] - share[m]; surplus > 0 {
			g.want(m, surplus)
			held[m] = share[m]
		}
	}
	for p, r := range g.readings {
		if r.owner != nil {
			continue
		}
		if m := neediest(g.members, held, share); m != nil {
			g.grant(p, m)
			held[m]++
		}
	}
}

// neediest returns the living member that has the least below its share, or nil.
func neediest(members []*Subscription, held, share map[*Subscription]int) *Subscription {
	var best *Subscription
	for _, m := range members {
		if m.frozen.IsZero() && held[m] < share[m] && (best == nil || held[m] < held[best]) {
			best = m
		}
	}
	return best
}

// want asks m for n of its partitions. What m has not heard of yet it loses at
// once: it cannot have begun anything.
func (g *group) want(m *Subscription, n int) {
	for p := len(g.readings) - 1; p >= 0 && n > 0; p-- {
		r := g.readings[p]
		if r.owner != m || r.wanted {
			continue
		}
		n--
		if slices.Contains(m.granted, p) {
			g.free(p)
			continue
		}
		r.wanted = true
		m.wanted = append(m.wanted, p)
		m.notify()
	}
}

// grant gives partition p to m, under a new epoch.
func (g *group) grant(p int, m *Subscription) {
	g.store.epoch++
	r := g.readings[p]
	r.owner, r.epoch, r.wanted, r.fetched = m, g.store.epoch, false, r.position
	m.granted = append(m.granted, p)
	m.notify()
}

// free takes partition p from its owner, and whatever the owner has not been told
// about it.
func (g *group) free(p int) {
	r := g.readings[p]
	is := func(q int) bool { return q == p }
	r.owner.granted = slices.DeleteFunc(r.owner.granted, is)
	r.owner.wanted = slices.DeleteFunc(r.owner.wanted, is)
	r.owner, r.wanted, r.rate, r.status = nil, false, 0, ""
}

// claim describes the present claim to partition p.
func (g *group) claim(p int) driver.Claim {
	r := g.readings[p]
	return driver.Claim{
		Group: g.name, Topic: g.topic.info.Name, Partition: p, Epoch: r.epoch,
		Position: driverkit.Position(r.position), Suspect: r.suspect, Run: g.run, Quiet: g.quiet,
	}
}

// release hands partition p over cleanly. A member that has lapsed may still do so
// while nobody took the partition.
func (s *Subscription) release(p int) {
	r := s.group.readings[p]
	r.suspect = false
	if r.owner == s {
		s.group.free(p)
	}
}

// leave gives up all that s owns without a release. A partition that s was never
// told about is as its owner before left it; any other is suspect.
func (s *Subscription) leave() {
	g := s.group
	i := slices.Index(g.members, s)
	if i < 0 {
		return // lapsed before
	}
	if s.lapse != nil {
		s.lapse.Stop()
	}
	g.members = slices.Delete(g.members, i, i+1)
	g.lastSeen = now()
	for p, r := range g.readings {
		if r.owner != s {
			continue
		}
		if !slices.Contains(s.granted, p) {
			r.suspect = true
			s.lost = append(s.lost, p)
		}
		g.free(p)
	}
	g.balance()
}

// freeze stops s from renewing; see Conn.Freeze.
func (s *Subscription) freeze() {
	if !s.frozen.IsZero() {
		return
	}
	s.frozen = now()
	s.lapse = time.AfterFunc(s.lease, func() {
		s.conn.store.mu.Lock()
		defer s.conn.store.mu.Unlock()
		s.leave()
		s.notify()
	})
}
