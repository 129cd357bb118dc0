package driverkit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed/driver"
)

// slow is a store that takes half a lease to give a partition.
type slow struct{ *member }

func (m slow) Acquire(ctx context.Context, seat string, takes []Take) ([]driver.Claim, error) {
	time.Sleep(lease / 2)
	return m.member.Acquire(ctx, seat, takes)
}

// A lease is renewed while many seats take something one after the other.
func TestKeeperRenewsWhileSeatsTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seats = 6
		keeper := NewKeeper(slow{&member{shared: newShared(seats), name: "a"}})
		defer keeper.Close()
		var all []*Seat
		for i := range seats {
			seat, err := keeper.Join(fmt.Sprint("a/", i), lease)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, seat)
		}
		granted := 0
		for range 10 * seats {
			time.Sleep(lease / 10)
			for _, seat := range all {
				n := seat.News()
				if granted += len(n.Granted); len(n.Lost) > 0 {
					t.Fatalf("%s has lost %v", seat.Name(), n.Lost)
				}
			}
		}
		if granted != seats {
			t.Errorf("%d partitions were granted, want %d", granted, seats)
		}
	})
}

// Who joins while others take something is seated after that, and not at the next renewal:
// something is wanted for it.
func TestKeeperSeatsWhoJoinsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeeper(slow{&member{shared: newShared(3), name: "a"}})
		defer k.Close()
		join := func(name string) *Seat {
			t.Helper()
			seat, err := k.Join(name, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return seat
		}
		early := []*Seat{join("a/1"), join("a/2")}
		pass(lease / 10) // one of them is at it, the other's turn comes
		join("a/3")
		pass(5 * lease)
		synctest.Wait()
		granted, wanted := 0, 0
		for _, seat := range early {
			n := seat.News()
			granted, wanted = granted+len(n.Granted), wanted+len(n.Wanted)
		}
		if granted != 3 || wanted != 1 {
			t.Errorf("those who were there before have %d partitions, and %d are wanted (want 3 and 1)", granted, wanted)
		}
	})
}

// failing is a store of which one call fails.
type failing struct {
	*member
	failed bool
}

func (f *failing) View(ctx context.Context, seats []string) (map[string]View, time.Duration, error) {
	if !f.failed {
		f.failed = true
		return nil, 0, errBroken
	}
	return f.member.View(ctx, seats)
}

// However long the lease, a store that failed is asked again soon.
func TestKeeperTriesAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeeper(&failing{member: &member{shared: newShared(1), name: "a"}})
		defer k.Close()
		seat, err := k.Join("a/1", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		synctest.Wait()
		if n := seat.News(); len(n.Granted) != 1 {
			t.Errorf("two seconds after the failure: %+v", n)
		}
	})
}
