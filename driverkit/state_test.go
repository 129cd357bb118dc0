package driverkit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/engine/deedmem"
)

const (
	orders = "orders"
	group  = "billing"
	lease  = time.Second
)

// logOnly is an engine as WithState wants it for the log: one that keeps no state.
type logOnly struct {
	*deedmem.Conn
	change func(*driver.Features) // or nil
}

func (c logOnly) Unwrap() driver.Conn { return c.Conn }

func (c logOnly) Features() driver.Features {
	f := c.Conn.Features()
	f.Engine, f.SideLog, f.Records = "log", false, false
	if c.change != nil {
		c.change(&f)
	}
	return f
}

// node is a connection of WithState, and the two that it is of.
type node struct {
	driver.Conn
	log, state *deedmem.Conn
}

// memory opens a store that ends with the test.
func memory(t *testing.T, name string) *deedmem.Conn {
	t.Helper()
	c, err := deedmem.Open(t.Context(), "mem:"+t.Name()+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// newNode opens connections of its own to the test's log and state, where the topic has so
// many partitions, with an event in each that has its number.
func newNode(t *testing.T, partitions int) *node {
	t.Helper()
	n := &node{log: memory(t, "log"), state: memory(t, "state")}
	var err error
	if n.Conn, err = driverkit.WithState(logOnly{Conn: n.log}, n.state); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	info, err := n.log.CreateTopic(t.Context(), orders, driver.TopicSettings{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		publish(t, n.log, info, p)
	}
	return n
}

// publish stores the partition's event unless it is there.
func publish(t *testing.T, c driver.Conn, info driver.TopicInfo, p int) {
	t.Helper()
	rs, err := c.Publish(t.Context(), []driver.Batch{{
		Topic: info.Name, Generation: info.Generation, Partition: p, Producer: "test", Seq: 1,
		Messages: []driver.Message{{ID: fmt.Sprint(p), Source: "/test", Type: "order", Version: 1, Key: fmt.Sprint(p)}},
	}})
	if err = errors.Join(err, rs[0].Err); err != nil {
		t.Fatal(err)
	}
}

// reading is a member that notes what it hears.
type reading struct {
	t       *testing.T
	sub     driver.Subscription
	claims  map[int]driver.Claim
	granted []driver.Claim // all that were ever
	seen    []string       // ids
	lost    []int
	errs    []error
}

func (n *node) member(t *testing.T) *reading {
	t.Helper()
	sub, err := n.Subscribe(t.Context(), driver.SubscribeSpec{Topic: orders, Group: group, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Close() })
	return &reading{t: t, sub: sub, claims: make(map[int]driver.Claim)}
}

// listen hears all there is to be heard for a while.
func (r *reading) listen(d time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	for ctx.Err() == nil {
		got, err := r.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil && ctx.Err() == nil {
			if r.errs = append(r.errs, err); len(r.errs) == 100 {
				r.t.Fatalf("Receive fails again and again: %v", err)
			}
		}
		for _, p := range got.Lost {
			delete(r.claims, p)
		}
		r.lost = append(r.lost, got.Lost...)
		for _, c := range got.Granted {
			r.claims[c.Partition] = c
		}
		r.granted = append(r.granted, got.Granted...)
		for _, d := range got.Deliveries {
			if _, ok := r.claims[d.Partition]; !ok {
				r.t.Errorf("event %s came before its claim", d.ID)
			}
			r.seen = append(r.seen, d.ID)
		}
		var release []driver.Settlement
		for _, p := range got.Wanted {
			release = append(release, driver.Settlement{Partition: p, Epoch: r.claims[p].Epoch, Release: true})
			delete(r.claims, p)
		}
		if len(release) > 0 {
			if _, err := r.sub.Settle(ctx, release); err != nil {
				r.t.Error(err)
			}
		}
	}
	slices.Sort(r.seen)
}

// settle stores that a partition's event was handled, under a claim, and returns whether
// the claim counted.
func (r *reading) settle(c driver.Claim) bool {
	r.t.Helper()
	lost, err := r.sub.Settle(r.t.Context(), []driver.Settlement{{Partition: c.Partition, Epoch: c.Epoch, Position: "1"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return !slices.Contains(lost, c.Partition)
}

// wantFenced checks that a claim lets nobody write to the state any more.
func (n *node) wantFenced(t *testing.T, c driver.Claim) {
	t.Helper()
	side, ok := driver.As[driver.SideLog](n.Conn)
	if !ok {
		t.Fatal("there is no side log")
	}
	parked := driver.Parked{Letter: driver.Letter{
		Group: group, Topic: orders, State: driver.Dead,
		Delivery: driver.Delivery{Partition: c.Partition, Position: "1", Message: driver.Message{ID: "x", Key: "k"}},
	}}
	_, unpark := side.Unpark(t.Context(), c, []string{"1"})
	_, due := side.Due(t.Context(), c, 1)
	for what, err := range map[string]error{
		"Park":     side.Park(t.Context(), c, []driver.Parked{parked}),
		"Unpark":   unpark,
		"Due":      due,
		"SetMarks": side.SetMarks(t.Context(), c, []driver.Mark{{Position: "1", Crashes: 1}}),
	} {
		if !errors.Is(err, driver.ErrFenced) {
			t.Errorf("%s under a claim that is over: %v, want ErrFenced", what, err)
		}
	}
}

// died makes a member of the state alone have a partition there, and never release it.
func died(t *testing.T, partition int) *deedmem.Conn {
	t.Helper()
	c := memory(t, "state")
	shadow := fmt.Sprint("log/", orders, "/", partition)
	if _, err := c.CreateTopic(t.Context(), shadow, driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: shadow, Group: group, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Receive(t.Context(), driver.Fetch{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// What a dead member has in the state is waited for, and the other partitions go on.
func TestStateWaitsForEachPartitionByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		dead := died(t, 1)
		r := n.member(t)
		r.listen(lease / 2)
		if want := []string{"0", "2"}; !slices.Equal(r.seen, want) {
			t.Fatalf("beside a partition that waits %v came, want %v", r.seen, want)
		}
		dead.Freeze()
		r.listen(2 * lease)
		if want := []string{"0", "1", "2"}; !slices.Equal(r.seen, want) {
			t.Errorf("when the lease was over %v had come, want %v", r.seen, want)
		}
	})
}

// A partition that waits in the state is handed over, when it has come, to whoever the log
// wants to have it.
func TestStateHandsOverWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, 2), newNode(t, 2)
		dead := died(t, 1) // which is what the first member is asked for
		first := a.member(t)
		first.listen(lease / 4)
		second := b.member(t)
		first.listen(lease / 4)
		second.listen(lease / 4)
		dead.Freeze()
		first.listen(2 * lease)
		second.listen(lease)
		if !slices.Equal(second.seen, []string{"1"}) || len(first.claims) != 1 || len(first.lost) > 0 {
			t.Errorf("the first member has %v and lost %v, the second saw %v; want one partition each",
				first.claims, first.lost, second.seen)
		}
	})
}

// A member that was silent for too long can move nothing, neither in the log nor in the
// state.
func TestStateFencesTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, 1), newNode(t, 1)
		silent := a.member(t)
		silent.listen(lease / 4)
		old := silent.claims[0]
		a.log.Freeze()
		a.state.Freeze()
		next := b.member(t)
		next.listen(3 * lease)
		if c := next.claims[0]; c.Epoch <= old.Epoch || !c.Suspect {
			t.Fatalf("after %+v the next owner has %+v, want a newer epoch, suspect", old, c)
		}
		if silent.settle(old) {
			t.Error("a member that was silent past its lease has settled")
		}
		a.wantFenced(t, old)
		if !next.settle(next.claims[0]) {
			t.Error("the owner cannot settle")
		}
	})
}

// A claim that the state alone took back is over in the log too, and is claimed anew.
func TestStateTakesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		r := n.member(t)
		r.listen(lease / 4)
		old := r.claims[0]
		n.state.Freeze()
		r.listen(4 * lease)
		if !slices.Equal(r.lost, []int{0}) {
			t.Errorf("%v was lost, want partition 0 once", r.lost)
		}
		if c := r.claims[0]; c.Epoch <= old.Epoch {
			t.Errorf("after %+v it was granted %+v, want a newer epoch", old, c)
		}
		if r.settle(old) {
			t.Error("the old claim settles")
		}
		n.wantFenced(t, old)
	})
}

// A reset takes the claims of both away.
func TestStateResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		r := n.member(t)
		r.listen(lease / 4)
		old := r.claims[0]
		if !r.settle(old) {
			t.Fatal("the owner cannot settle")
		}
		resetter, ok := driver.As[driver.Resetter](n.Conn)
		if !ok {
			t.Fatal("there is no reset")
		}
		if err := resetter.ResetGroup(t.Context(), group, orders, driver.Reset{Fence: true}); err != nil {
			t.Fatal(err)
		}
		r.listen(4 * lease)
		if c := r.claims[0]; c.Epoch <= old.Epoch || c.Run != old.Run+1 || c.Position != "" {
			t.Errorf("after a reset of %+v it was granted %+v", old, c)
		}
		n.wantFenced(t, old)
		if want := []string{"0", "0"}; !slices.Equal(r.seen, want) {
			t.Errorf("%v came, want %v", r.seen, want)
		}
	})
}

// deaf is a state that lets nobody join on one topic.
type deaf struct {
	*deedmem.Conn
	topic string
	open  atomic.Bool
}

func (c *deaf) Unwrap() driver.Conn { return c.Conn }

func (c *deaf) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	if spec.Topic == c.topic && !c.open.Load() {
		return nil, driver.ErrAway
	}
	return c.Conn.Subscribe(ctx, spec)
}

// A state that cannot be asked about one partition holds up that one, and says so once.
func TestStateAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 2)
		state := &deaf{Conn: n.state, topic: "log/" + orders + "/0"}
		var err error
		if n.Conn, err = driverkit.WithState(logOnly{Conn: n.log}, state); err != nil {
			t.Fatal(err)
		}
		r := n.member(t)
		r.listen(lease)
		if !slices.Equal(r.seen, []string{"1"}) || len(r.errs) != 1 || !errors.Is(r.errs[0], driver.ErrAway) {
			t.Errorf("%v came, with errors %v, want event 1 and ErrAway once", r.seen, r.errs)
		}
		state.open.Store(true)
		r.listen(lease)
		if !slices.Equal(r.seen, []string{"0", "1"}) {
			t.Errorf("%v came when the state was back, want both", r.seen)
		}
	})
}
