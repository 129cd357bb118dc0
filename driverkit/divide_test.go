package driverkit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// world is a group as a store would keep it, for members that only decide.
type world struct {
	view View
	held map[string]map[int]holding
}

func newWorld(partitions int) *world {
	w := &world{held: make(map[string]map[int]holding)}
	for p := range partitions {
		w.view.Shares = append(w.view.Shares, Share{Partition: p})
	}
	return w
}

func (w *world) join(seat string) {
	w.view.Seats = append(w.view.Seats, seat)
	w.held[seat] = make(map[int]holding)
}

// die lets a member's lease run out: its partitions stay in its name.
func (w *world) die(seat string) {
	w.view.Seats = slices.DeleteFunc(w.view.Seats, func(s string) bool { return s == seat })
	delete(w.held, seat)
	for i := range w.view.Shares {
		if w.view.Shares[i].Owner == seat {
			w.view.Shares[i].Live = false
		}
	}
}

// lapse lets a member's own lease run out without anybody noticing: it forgets what
// it holds, and lives on.
func (w *world) lapse(seat string) { w.held[seat] = make(map[int]holding) }

// step lets one member look and act, and reports whether it did anything.
func (w *world) step(t *testing.T, seat string) bool {
	t.Helper()
	held := w.held[seat]
	d := divide(w.view, seat, held)
	for _, p := range d.lost {
		delete(held, p)
	}
	for _, take := range d.take {
		s := &w.view.Shares[take.Partition]
		if s.Owner != take.Owner || s.Epoch != take.Epoch {
			t.Fatalf("%s takes partition %d as of %q epoch %d, it is %q %d",
				seat, take.Partition, take.Owner, take.Epoch, s.Owner, s.Epoch)
		}
		if s.Live && s.Owner != "" && s.Owner != seat {
			t.Fatalf("%s takes partition %d from %s, who is alive", seat, take.Partition, s.Owner)
		}
		s.Owner, s.Live, s.Epoch = seat, true, s.Epoch+1
		held[take.Partition] = holding{epoch: s.Epoch}
	}
	for _, p := range d.want {
		h := held[p]
		h.wanted = true
		held[p] = h
	}
	return len(d.take)+len(d.want)+len(d.lost) > 0
}

// release gives up what is wanted.
func (w *world) release(seat string) bool {
	did := false
	for p, h := range w.held[seat] {
		if h.wanted {
			w.view.Shares[p].Owner, w.view.Shares[p].Live = "", false
			delete(w.held[seat], p)
			did = true
		}
	}
	return did
}

// settle lets all act until nobody has anything to do.
func (w *world) settle(t *testing.T, order *rand.Rand) {
	t.Helper()
	for range 1000 {
		busy := false
		seats := slices.Clone(w.view.Seats)
		order.Shuffle(len(seats), func(i, j int) { seats[i], seats[j] = seats[j], seats[i] })
		for _, s := range seats {
			busy = w.step(t, s) || busy
			busy = w.release(s) || busy
		}
		if !busy {
			return
		}
	}
	t.Fatal("members never come to rest")
}

func (w *world) check(t *testing.T) {
	t.Helper()
	counts := make(map[string]int)
	for _, s := range w.view.Shares {
		if h, ok := w.held[s.Owner][s.Partition]; !s.Live || !ok || h.epoch != s.Epoch {
			t.Errorf("partition %d has no owner who knows of it: %+v", s.Partition, s)
		}
		counts[s.Owner]++
	}
	floor, ceil := bounds(w.view)
	for _, seat := range w.view.Seats {
		if n := counts[seat]; n < floor || n > ceil {
			t.Errorf("%s has %d of %d partitions (want %d to %d): %v", seat, n, len(w.view.Shares), floor, ceil, counts)
		}
	}
}

func TestMembersShareEvenlyWhateverComesAndGoes(t *testing.T) {
	for seed := range uint64(300) {
		order := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(1 + order.IntN(20))
		next := 0
		for range 12 {
			if n := len(w.view.Seats); n == 0 || order.IntN(3) > 0 && n < 8 {
				next++
				w.join(fmt.Sprintf("m%02d", next))
			} else {
				w.die(w.view.Seats[order.IntN(n)])
			}
			if len(w.view.Seats) == 0 {
				continue
			}
			if order.IntN(2) == 0 {
				w.lapse(w.view.Seats[order.IntN(len(w.view.Seats))])
			}
			w.settle(t, order)
			w.check(t)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestWhatIsHeldIsKept(t *testing.T) {
	w := newWorld(16)
	order := rand.New(rand.NewPCG(1, 2))
	w.join("a")
	w.settle(t, order)
	w.join("b")
	w.settle(t, order)
	before := make(map[int]int64)
	for p, h := range w.held["a"] {
		before[p] = h.epoch
	}
	w.join("c")
	w.settle(t, order)
	for p, h := range w.held["a"] {
		if before[p] != h.epoch {
			t.Errorf("a had partition %d at epoch %d, now %d: it moved for nothing", p, before[p], h.epoch)
		}
	}
}

func TestLostPartitions(t *testing.T) {
	v := View{Seats: []string{"me", "you"}, Shares: []Share{
		{Partition: 0, Owner: "me", Live: true, Epoch: 4},
		{Partition: 1, Owner: "you", Live: true, Epoch: 5}, // taken over
		{Partition: 2, Owner: "", Epoch: 6},                // being released
		{Partition: 3, Owner: "me", Live: true, Epoch: 9},  // granted again, the answer was lost
	}}
	held := map[int]holding{0: {epoch: 4}, 1: {epoch: 4}, 2: {epoch: 6, releasing: true}, 3: {epoch: 8}}
	d := divide(v, "me", held)
	if want := []int{1, 3}; !slices.Equal(d.lost, want) {
		t.Errorf("lost %v, want %v", d.lost, want)
	}
	for _, take := range d.take {
		if take.Partition == 2 {
			t.Error("it takes what it is releasing")
		}
	}
}

func TestNoSeatTakesNothing(t *testing.T) {
	v := View{Seats: []string{"you"}, Shares: []Share{{Partition: 0}, {Partition: 1, Owner: "me", Epoch: 3}}}
	d := divide(v, "me", map[int]holding{1: {epoch: 3}})
	if len(d.take) > 0 || len(d.want) > 0 {
		t.Errorf("a member without a live seat decides %+v", d)
	}
}
