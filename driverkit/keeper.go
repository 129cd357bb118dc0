package driverkit

import (
	"context"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// Store is where an engine keeps members, seats and claims. The Keeper calls one
// method at a time. Each is one atomic step.
type Store interface {
	// Renew makes the member's lease last for lease from now, and seats whichever
	// of the seats is missing. A seat whose group is gone is left out.
	Renew(ctx context.Context, lease time.Duration, seats []string) error
	// View reports how the seats' groups stand, by seat, and when the next lease of
	// another member runs out, 0 when none will.
	View(ctx context.Context, seats []string) (views map[string]View, lapse time.Duration, err error)
	// Acquire gives the seat those partitions whose owner and epoch are still as in
	// takes, each under the next epoch, and returns the claims.
	Acquire(ctx context.Context, seat string, takes []Take) ([]driver.Claim, error)
	// Leave removes a seat. What it owns is free, and suspect but for the unused
	// claims: nobody saw those, so they are as clean as they were when acquired.
	Leave(ctx context.Context, seat string, unused []driver.Claim) error
}

// Keeper renews the lease of one member, which is one connection of one process,
// and divides partitions among its seats. It has one goroutine while there are
// seats.
type Keeper struct {
	store Store
	nudge chan struct{} // of one: a nudge while one waits adds nothing
	stop  context.CancelFunc
	ctx   context.Context
	done  sync.WaitGroup

	stepping sync.Mutex // held by step, so that it cannot bring back a seat that leaves

	mu         sync.Mutex
	running    bool
	closed     bool
	seats      map[string]*Seat
	validUntil time.Time // end of the own lease by the monotonic clock
	renewAt    time.Time
}

// NewKeeper returns a Keeper over store.
func NewKeeper(store Store) *Keeper {
	ctx, stop := context.WithCancel(context.Background())
	return &Keeper{store: store, nudge: make(chan struct{}, 1), ctx: ctx, stop: stop, seats: make(map[string]*Seat)}
}

// Join adds a seat. Its partitions arrive as News.
func (k *Keeper) Join(name string, lease time.Duration) (*Seat, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, driver.ErrClosed
	}
	s := &Seat{name: name, lease: lease, keeper: k, held: make(map[int]holding)}
	k.seats[name] = s
	k.renewAt = time.Time{} // now, since the renewal is what seats it
	if !k.running {
		k.running = true
		k.done.Go(k.run)
	}
	k.Nudge()
	return s, nil
}

// Leave removes a seat at once. The partitions that it did not release are suspect
// to their next owner, but for those that no News has told of.
func (k *Keeper) Leave(ctx context.Context, s *Seat) error {
	k.stepping.Lock()
	defer k.stepping.Unlock()
	k.mu.Lock()
	_, ours := k.seats[s.name]
	delete(k.seats, s.name)
	k.mu.Unlock()
	if !ours {
		return nil
	}
	return k.store.Leave(ctx, s.name, s.unseen())
}

// Nudge says that the store's state may have changed.
func (k *Keeper) Nudge() {
	select {
	case k.nudge <- struct{}{}:
	default:
	}
}

// Close ends the goroutine and waits for it. Seats are left to the caller, who
// removes the whole member.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.stop()
	k.done.Wait()
}

func (k *Keeper) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-timer.C:
		case <-k.nudge:
		}
		timer.Reset(k.step())
	}
}

// step renews when it is time, brings every seat up to date and returns how long
// nothing needs to be done.
func (k *Keeper) step() time.Duration {
	k.stepping.Lock()
	defer k.stepping.Unlock()
	k.mu.Lock()
	seats, lease := k.snapshot()
	k.mu.Unlock()
	if len(seats) == 0 {
		return time.Hour // Join nudges
	}
	k.renew()
	if k.expired() {
		for _, s := range seats {
			s.loseAll()
		}
		return k.pause(lease, 0)
	}
	ctx, cancel := context.WithDeadline(k.ctx, k.deadline())
	defer cancel()
	views, lapse, err := k.store.View(ctx, names(seats))
	if err != nil {
		return min(k.pause(lease, 0), retryPause(lease))
	}
	for _, s := range seats {
		k.renew() // many seats that take something may need longer than a lease
		rest, err := k.refresh(s, views[s.name])
		if err != nil {
			return min(k.pause(lease, 0), retryPause(lease))
		}
		if rest > 0 && (lapse == 0 || rest < lapse) {
			lapse = rest
		}
	}
	return k.pause(lease, lapse)
}

// refresh applies what divide decides about one seat. It returns how long the seat
// still takes nothing.
func (k *Keeper) refresh(s *Seat, v View) (rest time.Duration, err error) {
	d := divide(v, s.name, s.holdings())
	s.update(v, d)
	if rest = s.resting(); rest > 0 || len(d.take) == 0 {
		return rest, nil
	}
	ctx, cancel := context.WithDeadline(k.ctx, k.deadline())
	defer cancel()
	claims, err := k.store.Acquire(ctx, s.name, d.take)
	if err != nil {
		return 0, err
	}
	s.grant(claims)
	if len(claims) < len(d.take) {
		k.Nudge() // another member was faster: look again
	}
	return 0, nil
}

// renew extends the lease of all seats when a third of it has passed, or one has joined. The
// new lease counts from before the call, so that it ends here no later than in the store.
func (k *Keeper) renew() {
	start := time.Now()
	k.mu.Lock()
	due := !start.Before(k.renewAt)
	seats, lease := k.snapshot()
	if due {
		k.renewAt = start.Add(lease / 3) // who joins during the call makes it due again
	}
	k.mu.Unlock()
	if !due {
		return
	}
	limit := start.Add(lease)
	if !k.expired() {
		limit = k.deadline()
	}
	ctx, cancel := context.WithDeadline(k.ctx, limit)
	defer cancel()
	err := k.store.Renew(ctx, lease, names(seats))
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.renewAt = time.Now().Add(retryPause(lease))
		return
	}
	k.validUntil = start.Add(lease)
}

// retryPause is how long to wait after the store failed. With a long lease there is time
// to wait, but a new member has nothing until then.
func retryPause(lease time.Duration) time.Duration { return min(lease/20, time.Second) }

// pause returns how long until the next renewal, the end of the own lease, or the
// end of another member's.
func (k *Keeper) pause(lease, lapse time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	wait := k.renewAt.Sub(now)
	if valid := k.validUntil.Sub(now); valid > 0 {
		wait = min(wait, valid)
	}
	if lapse > 0 {
		wait = min(wait, lapse)
	}
	return max(wait, time.Millisecond)
}

// snapshot returns the seats and the shortest of their leases. The caller holds mu.
func (k *Keeper) snapshot() ([]*Seat, time.Duration) {
	seats := make([]*Seat, 0, len(k.seats))
	lease := time.Duration(0)
	for _, s := range k.seats {
		seats = append(seats, s)
		if lease == 0 || s.lease < lease {
			lease = s.lease
		}
	}
	return seats, lease
}

func (k *Keeper) expired() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !time.Now().Before(k.validUntil)
}

func (k *Keeper) deadline() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.validUntil
}

func names(seats []*Seat) []string {
	n := make([]string, len(seats))
	for i, s := range seats {
		n[i] = s.name
	}
	return n
}
