package driverkit

import (
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// Seat is one subscription's part in a group on a topic. The Keeper fills it, the
// subscription's Receive empties it. Its methods are safe for concurrent use.
type Seat struct {
	name   string
	lease  time.Duration
	keeper *Keeper

	mu      sync.Mutex
	gone    bool
	paused  bool
	held    map[int]holding
	granted []driver.Claim
	wanted  []int
	lost    []int
	rest    time.Time // takes nothing before it
	changed Signal
}

// News is what changed since the last call of [Seat.News].
type News struct {
	Granted []driver.Claim
	Wanted  []int
	Lost    []int
	Paused  bool // now
	Gone    bool // the group or topic was deleted
}

// Any reports whether there is anything to tell a caller of Receive.
func (n News) Any() bool { return len(n.Granted)+len(n.Wanted)+len(n.Lost) > 0 }

// Name returns the seat's name, which claims carry.
func (s *Seat) Name() string { return s.name }

// Changed returns a channel that is closed when there may be news.
func (s *Seat) Changed() <-chan struct{} { return s.changed.Wait() }

// News takes what changed. A partition that was lost and granted anew is reported
// lost first and granted by the next call. Past the end of an own lease that was
// not renewed everything is lost, whether or not the Keeper came to notice.
func (s *Seat) News() News {
	if s.keeper.expired() {
		s.loseAll()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := News{Wanted: s.wanted, Lost: s.lost, Paused: s.paused, Gone: s.gone}
	s.wanted, s.lost = nil, nil
	var later []driver.Claim
	for _, c := range s.granted {
		if slices.Contains(n.Lost, c.Partition) {
			later = append(later, c)
		} else {
			n.Granted = append(n.Granted, c)
		}
	}
	s.granted = later
	if len(later) > 0 {
		s.changed.Notify()
	}
	return n
}

// Paused reports whether the group is paused, as far as the seat has heard.
func (s *Seat) Paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused
}

// Releasing says that partition p is about to be released, so that the Keeper does
// not take its disappearance for a loss. Released or Kept must follow.
func (s *Seat) Releasing(p int, epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.held[p]; ok && h.epoch == epoch {
		h.releasing = true
		s.held[p] = h
	}
}

// Released says that the release is stored. Who releases what nobody wanted is
// about to leave, so the seat takes nothing for a while: it would only have to be
// handed over again.
func (s *Seat) Released(p int, epoch int64) {
	s.mu.Lock()
	if h, ok := s.held[p]; ok && h.epoch == epoch {
		delete(s.held, p)
		if !h.wanted {
			s.rest = time.Now().Add(s.lease / 3)
		}
	}
	s.mu.Unlock()
	s.keeper.Nudge()
}

// resting returns how long the seat takes nothing.
func (s *Seat) resting() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, time.Until(s.rest))
}

// unseen takes the claims that no News has told of.
func (s *Seat) unseen() []driver.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	unseen := s.granted
	s.granted = nil
	return unseen
}

// Kept says that the release was not stored.
func (s *Seat) Kept(p int, epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.held[p]; ok && h.epoch == epoch {
		h.releasing = false
		s.held[p] = h
	}
}

// Forget says that the store knows a newer epoch of p, as a caller of Settle was
// told already: it is not reported Lost again.
func (s *Seat) Forget(p int, epoch int64) {
	s.mu.Lock()
	if h, ok := s.held[p]; ok && h.epoch == epoch {
		delete(s.held, p)
	}
	s.mu.Unlock()
	s.keeper.Nudge()
}

// Settling is Releasing for the claims that a Settle releases. Settled must follow.
func (s *Seat) Settling(settlements []driver.Settlement) {
	for _, x := range settlements {
		if x.Release {
			s.Releasing(x.Partition, x.Epoch)
		}
	}
}

// Settled says what became of a Settle that is stored as a whole or not at all: which claims
// a newer epoch has taken, or why nothing was stored.
func (s *Seat) Settled(settlements []driver.Settlement, lost []int, err error) {
	for _, x := range settlements {
		switch {
		case err != nil && x.Release:
			s.Kept(x.Partition, x.Epoch)
		case err != nil:
		case slices.Contains(lost, x.Partition):
			s.Forget(x.Partition, x.Epoch)
		case x.Release:
			s.Released(x.Partition, x.Epoch)
		}
	}
}

func (s *Seat) holdings() map[int]holding {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(map[int]holding, len(s.held))
	for p, h := range s.held {
		held[p] = h
	}
	return held
}

func (s *Seat) update(v View, d decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.paused != v.Paused || s.gone != v.Gone
	s.paused, s.gone = v.Paused, v.Gone
	for _, p := range d.want {
		if h, ok := s.held[p]; ok && !h.releasing {
			h.wanted = true
			s.held[p] = h
			s.wanted = append(s.wanted, p)
			changed = true
		}
	}
	for _, p := range d.lost {
		changed = s.lose(p) || changed
	}
	if changed {
		s.changed.Notify()
	}
}

func (s *Seat) grant(claims []driver.Claim) {
	if len(claims) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range claims {
		s.held[c.Partition] = holding{epoch: c.Epoch}
	}
	s.granted = append(s.granted, claims...)
	s.changed.Notify()
}

// lose forgets partition p. A grant that nobody has seen yet just goes.
func (s *Seat) lose(p int) bool {
	h, ok := s.held[p]
	if !ok || h.releasing {
		return false
	}
	delete(s.held, p)
	s.wanted = slices.DeleteFunc(s.wanted, func(w int) bool { return w == p })
	unseen := len(s.granted)
	s.granted = slices.DeleteFunc(s.granted, func(c driver.Claim) bool { return c.Partition == p })
	if len(s.granted) == unseen && !slices.Contains(s.lost, p) {
		s.lost = append(s.lost, p)
	}
	return true
}

func (s *Seat) loseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for p := range s.held {
		changed = s.lose(p) || changed
	}
	if changed {
		s.changed.Notify()
	}
}
