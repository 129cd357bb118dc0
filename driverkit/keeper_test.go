package driverkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed/driver"
)

// shared is a store of one group in memory, for several members.
type shared struct {
	mu      sync.Mutex
	shares  []Share
	clean   []bool
	seats   map[string]string // member by seat
	leases  map[string]time.Time
	keepers []*Keeper
}

func newShared(partitions int) *shared {
	s := &shared{seats: make(map[string]string), leases: make(map[string]time.Time), clean: make([]bool, partitions)}
	for p := range partitions {
		s.shares = append(s.shares, Share{Partition: p})
		s.clean[p] = true
	}
	return s
}

// member is the store as one member sees it.
type member struct {
	*shared
	name string

	broken bool // calls fail
}

var errBroken = errors.New("broken")

func (m *member) Renew(_ context.Context, lease time.Duration, seats []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return errBroken
	}
	m.leases[m.name] = time.Now().Add(lease)
	for _, s := range seats {
		if _, ok := m.seats[s]; !ok {
			m.seats[s] = m.name
			m.changed()
		}
	}
	return nil
}

func (s *shared) changed() {
	for _, k := range s.keepers {
		k.Nudge()
	}
}

func (m *member) View(_ context.Context, seats []string) (map[string]View, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return nil, 0, errBroken
	}
	v := View{}
	live := make(map[string]bool)
	lapse := time.Duration(0)
	for seat, who := range m.seats {
		left := time.Until(m.leases[who])
		if left <= 0 {
			continue
		}
		live[seat] = true
		v.Seats = append(v.Seats, seat)
		if who != m.name && (lapse == 0 || left < lapse) {
			lapse = left
		}
	}
	for _, s := range m.shares {
		s.Live = live[s.Owner]
		v.Shares = append(v.Shares, s)
	}
	views := make(map[string]View)
	for _, s := range seats {
		views[s] = v
	}
	return views, lapse, nil
}

func (m *member) Acquire(_ context.Context, seat string, takes []Take) (claims []driver.Claim, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return nil, errBroken
	}
	for _, t := range takes {
		s := &m.shares[t.Partition]
		if s.Owner != t.Owner || s.Epoch != t.Epoch {
			continue
		}
		s.Owner, s.Epoch = seat, s.Epoch+1
		claims = append(claims, driver.Claim{Partition: t.Partition, Epoch: s.Epoch, Suspect: !m.clean[t.Partition]})
		m.clean[t.Partition] = false
	}
	return claims, nil
}

func (m *member) Leave(_ context.Context, seat string, unused []driver.Claim) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range unused {
		m.shares[c.Partition].Owner, m.clean[c.Partition] = "", !c.Suspect
	}
	delete(m.seats, seat)
	m.changed()
	return nil
}

// release is what Settle does with Release.
func (s *shared) release(seat *Seat, p int, epoch int64) {
	seat.Releasing(p, epoch)
	s.mu.Lock()
	s.shares[p].Owner, s.clean[p] = "", true
	s.changed()
	s.mu.Unlock()
	seat.Released(p, epoch)
}

const lease = 9 * time.Second

// player is a member with one seat, and what it was told.
type player struct {
	*member
	keeper *Keeper
	seat   *Seat
	claims map[int]driver.Claim
}

func (s *shared) player(t *testing.T, name string) *player {
	t.Helper()
	p := &player{member: &member{shared: s, name: name}, claims: make(map[int]driver.Claim)}
	p.keeper = NewKeeper(p.member)
	s.mu.Lock()
	s.keepers = append(s.keepers, p.keeper)
	s.mu.Unlock()
	t.Cleanup(p.keeper.Close)
	var err error
	if p.seat, err = p.keeper.Join(name+"/1", lease); err != nil {
		t.Fatal(err)
	}
	return p
}

// listen takes the news and gives up what is wanted.
func (p *player) listen() News {
	n := p.seat.News()
	for _, q := range n.Lost {
		delete(p.claims, q)
	}
	for _, c := range n.Granted {
		p.claims[c.Partition] = c
	}
	for _, q := range n.Wanted {
		p.release(p.seat, q, p.claims[q].Epoch)
		delete(p.claims, q)
	}
	return n
}

func TestKeeperHandsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(16)
		a := s.player(t, "a")
		synctest.Wait()
		a.listen()
		if len(a.claims) != 16 {
			t.Fatalf("alone a has %d partitions", len(a.claims))
		}
		start := time.Now()
		b := s.player(t, "b")
		for len(b.claims) < 8 && time.Since(start) < lease {
			synctest.Wait()
			a.listen()
			b.listen()
			pass(time.Millisecond)
		}
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("the hand-over took %v", took)
		}
		if len(a.claims) != 8 || len(b.claims) != 8 {
			t.Errorf("a has %d partitions, b %d", len(a.claims), len(b.claims))
		}
		for _, c := range b.claims {
			if c.Suspect {
				t.Errorf("partition %d is suspect after a clean release", c.Partition)
			}
		}
	})
}

func TestKeeperTakesOverWhenTheLeaseLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(4)
		a := s.player(t, "a")
		synctest.Wait()
		a.listen()
		a.keeper.Close() // stops renewing, as a process that is frozen
		b := s.player(t, "b")
		synctest.Wait()
		if b.listen(); len(b.claims) != 0 {
			t.Fatalf("b has %v while the lease of a runs", b.claims)
		}
		pass(lease - time.Millisecond)
		synctest.Wait()
		if b.listen(); len(b.claims) != 0 {
			t.Fatalf("b has %v before the lease of a ended", b.claims)
		}
		pass(2 * time.Millisecond)
		synctest.Wait()
		if b.listen(); len(b.claims) != 4 {
			t.Fatalf("b has %v after the lease of a ended", b.claims)
		}
		for _, c := range b.claims {
			if !c.Suspect || c.Epoch != 2 {
				t.Errorf("the claim is %+v, want a suspect one at epoch 2", c)
			}
		}
		if n := a.listen(); len(n.Lost) != 4 {
			t.Errorf("a, awake again, has lost %v", n.Lost)
		}
	})
}

func TestKeeperReportsLossWhenItCannotRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(2)
		a := s.player(t, "a")
		synctest.Wait()
		a.listen()
		s.mu.Lock()
		a.broken = true
		s.mu.Unlock()
		pass(lease * 2 / 3)
		if n := a.listen(); n.Any() {
			t.Errorf("within its lease a hears %+v", n)
		}
		changed := a.seat.Changed()
		pass(lease)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("a waiting Receive is not woken by the loss")
		}
		if n := a.listen(); len(n.Lost) != 2 {
			t.Errorf("past its lease a hears %+v", n)
		}
		s.mu.Lock()
		a.broken = false
		s.mu.Unlock()
		pass(lease)
		synctest.Wait()
		a.listen()
		if len(a.claims) != 2 || a.claims[0].Epoch != 2 {
			t.Errorf("when the store is back a has %v", a.claims)
		}
	})
}

func TestKeeperLeavesUnseenGrantsClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(3)
		a := s.player(t, "a")
		synctest.Wait() // granted, and nobody has listened
		if err := a.keeper.Leave(t.Context(), a.seat); err != nil {
			t.Fatal(err)
		}
		b := s.player(t, "b")
		synctest.Wait()
		b.listen()
		for _, c := range b.claims {
			if c.Suspect {
				t.Errorf("partition %d is suspect, though a never heard of it", c.Partition)
			}
		}
		if len(b.claims) != 3 {
			t.Errorf("b has %v", b.claims)
		}
	})
}

func TestLeavingSeatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(4)
		a := s.player(t, "a")
		synctest.Wait()
		a.listen()
		for p, c := range a.claims {
			a.release(a.seat, p, c.Epoch)
		}
		synctest.Wait()
		if n := a.listen(); n.Any() {
			t.Errorf("after releasing all a hears %+v", n)
		}
		pass(lease)
		synctest.Wait()
		if n := a.listen(); len(n.Granted) != 4 {
			t.Errorf("a stayed after all and hears %+v", n)
		}
	})
}

func TestLostComesBeforeGrantedAnew(t *testing.T) {
	s := &Seat{keeper: &Keeper{validUntil: time.Now().Add(time.Hour)}, held: map[int]holding{5: {epoch: 1}}}
	s.update(View{}, decision{lost: []int{5}})
	s.grant([]driver.Claim{{Partition: 5, Epoch: 3}})
	first, second := s.News(), s.News()
	if fmt.Sprint(first.Lost, first.Granted) != "[5] []" || len(second.Granted) != 1 || len(second.Lost) != 0 {
		t.Errorf("news %+v, then %+v", first, second)
	}
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
