package drivertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

var retentionChecks = []Check{
	{
		Name:    "keep-removes-nothing-younger",
		Promise: "Keep removes nothing younger than it, and what is older when it is swept.",
		Why:     "Whoever starts a group within that time counts on all of it; the disk counts on the rest.",
		Needs:   needs(groups, retention),
		Run:     checkKeepYounger,
	},
	{
		Name:    "keep-waits-for-groups",
		Promise: "Without Hold, nothing is removed that a group has not handled, however old.",
		Why:     "A service that was down for a month still has to see what happened.",
		Needs:   needs(groups, retention),
		Run:     checkKeepWaits,
	},
	{
		Name:    "keep-leaves-the-last",
		Promise: "The last event of a partition stays, and positions go on after it.",
		Why:     "A log that begins anew would look, to a checkpoint kept elsewhere, like one that lost its events.",
		Needs:   needs(groups, retention),
		Run:     checkKeepLast,
	},
	{
		Name:    "hold-drops-and-counts",
		Promise: "Hold removes what a slow group has not handled, counts it for that group alone, and says so in its lag.",
		Why:     "This is the one way an event is ever lost, so it is asked for and seen.",
		Needs:   needs(groups, retention, lag),
		Run:     checkHold,
	},
	{
		Name:    "hold-spares-parked",
		Promise: "Hold drops nothing that is parked or dead: it is handled from the side log, and not counted.",
		Why:     "A letter that somebody wants to repair must outlive the log.",
		Needs:   needs(groups, retention, lag, sideLog),
		Run:     checkHoldParked,
	},
	{
		Name:    "full-topic-refuses",
		Promise: "At MaxBytes publishing is ErrFull, names the group that holds the events, and stores nothing.",
		Why:     "A disk that runs full stops everybody; backpressure stops one topic, and says whom to wake.",
		Needs:   needs(groups, retention),
		Run:     checkFull,
	},
	{
		Name:    "topic-bound-unless-none",
		Promise: "A topic that does not say has the bound that Features tells, and one that asks for none has none.",
		Why:     "Memory is the server's end; and whoever wants it all must be able to say so, and keep it.",
		Needs:   needs(retention),
		Takes:   hasTopics,
		Run:     checkBound,
	},
	{
		Name:    "full-topic-goes-on",
		Promise: "A full topic takes events again, the refused too, when its group got on and a sweep ran.",
		Why:     "Backpressure that does not end by itself is an outage.",
		Needs:   needs(groups, retention),
		Run:     checkFullGoesOn,
	},
	{
		Name:    "topic-bytes",
		Promise: "A topic counts the bytes of its data, less what was removed.",
		Why:     "MaxBytes, and whoever sets it, goes by this number.",
		Needs:   needs(retention),
		Run:     checkBytes,
	},
}

// sweep removes what may go, over any connection. An engine whose retention runs by
// itself has nothing to do.
func (e *Env) sweep(info driver.TopicInfo) int64 {
	e.t.Helper()
	s, ok := driver.As[driver.Sweeper](e.conn)
	if !ok {
		return 0
	}
	n, err := s.Sweep(e.t.Context(), info.Name)
	e.must("sweep", err)
	return n
}

// sweptTo sweeps until n events are left, and makes sure that more sweeps leave
// them there.
func (e *Env) sweptTo(info driver.TopicInfo, n int64) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("%d events are left", n), func() bool {
		e.sweep(info)
		return e.describe(info).Events <= n
	})
	for range 3 {
		e.pass(turn / 5)
		e.sweep(info)
	}
	if got := e.describe(info).Events; got != n {
		e.t.Errorf("%d events are left, want %d", got, n)
	}
}

func checkKeepYounger(t T, e *Env) {
	const keep = 400 * time.Millisecond
	long := e.topic(driver.TopicSettings{Partitions: 1, Keep: time.Hour})
	short := e.topic(driver.TopicSettings{Partitions: 2, Keep: keep})
	e.publish(e.conn, batch(long, 0, numbered(1, 20)...))
	start := time.Now()
	e.publish(e.conn, batch(short, 0, numbered(1, 20)...), batch(short, 1, numbered(21, 20)...))
	removed := int64(0)
	e.eventually("the old are removed", func() bool {
		removed += e.sweep(short)
		left := e.describe(short).Events
		if age := time.Since(start); left < 40 && age < keep {
			t.Fatalf("%d of 40 events are left after %v, which are to be kept for %v", left, age, keep)
		}
		return left == 2
	})
	if _, ok := driver.As[driver.Sweeper](e.conn); ok && removed != 38 {
		t.Errorf("the sweeps say that they removed %d events, want 38", removed)
	}
	e.sweep(long)
	if left := e.describe(long).Events; left != 20 {
		t.Errorf("%d of 20 events are left that are to be kept for an hour", left)
	}
	e.join(e.conn, long.Name, "group").take(20)
}

func checkKeepWaits(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1, Keep: time.Millisecond})
	slow, fast := e.join(e.open(), info.Name, "slow"), e.join(e.open(), info.Name, "fast")
	e.publish(e.conn, batch(info, 0, numbered(1, 10)...))
	ds := slices.Clone(slow.take(10))
	fast.take(10)
	fast.settle(0, ds[9].Position)
	e.sweptTo(info, 10)
	slow.settle(0, ds[3].Position)
	e.sweptTo(info, 6)
	if e.features.Browse {
		left := e.page(driver.Page{Topic: info.Name, Limit: 100})
		if got := ids(left); !slices.Equal(got, ids(ds[4:])) {
			t.Errorf("%v are left, want %v", got, ids(ds[4:]))
		}
	}
	slow.release(0, "")
	slow.close()
	again := e.join(e.conn, info.Name, "slow")
	if got := ids(again.take(6)); !slices.Equal(got, ids(ds[4:])) {
		t.Errorf("the slow group goes on with %v, want %v", got, ids(ds[4:]))
	}
	again.settle(0, again.got[5].Position)
	e.sweptTo(info, 1)
}

func checkKeepLast(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2, Keep: time.Millisecond})
	m := e.join(e.conn, info.Name, "group")
	e.publish(e.conn, batch(info, 0, numbered(1, 5)...))
	m.take(5)
	last := m.got[4].Position
	m.settle(0, last)
	e.sweptTo(info, 1)
	if e.features.Browse {
		left := e.page(driver.Page{Topic: info.Name, Limit: 100})
		if len(left) != 1 || left[0].Position != last || left[0].ID != "5" {
			t.Errorf("%v are left, want event 5 at position %s", ids(left), last)
		}
		ends, err := capability[driver.Browser](e).Ends(t.Context(), info.Name)
		if err != nil || !slices.Equal(ends, []string{last, ""}) {
			t.Errorf("the partitions end at %q, %v, want %q and nothing", ends, err, last)
		}
	}
	e.publish(e.conn, batch(info, 0, numbered(6, 2)...))
	got := m.take(7) // which checks that positions go on
	m.settle(0, got[6].Position)
	e.sweptTo(info, 1)
	next := e.join(e.open(), info.Name, "a new group")
	next.holes = true // it begins behind what is gone
	if got := ids(next.take(1)); got[0] != "7" {
		t.Errorf("a new group starts with %s, want the last one, 7", got[0])
	}
}

func checkHold(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1, Keep: time.Millisecond, Hold: soon})
	fast := e.join(e.conn, info.Name, "fast")
	e.join(e.conn, info.Name, "slow").close()
	start := time.Now()
	e.publish(e.conn, batch(info, 0, numbered(1, 8)...))
	fast.take(8)
	fast.settle(0, fast.got[7].Position)
	e.eventually("what is held too long is removed", func() bool {
		e.sweep(info)
		left := e.describe(info).Events
		if age := time.Since(start); left < 8 && age < soon {
			t.Fatalf("%d of 8 events are left after %v, which are to be held for %v", left, age, soon)
		}
		return left == 1
	})
	if g := e.groupInfo("slow", info.Name); g == nil || g.Dropped != 7 {
		t.Errorf("the slow group is %+v, want 7 events dropped", g)
	}
	if g := e.groupInfo("fast", info.Name); g == nil || g.Dropped != 0 {
		t.Errorf("the group that had handled everything is %+v, want nothing dropped", g)
	}
	l := e.lagOf(info, "slow")[0]
	if l.Events != 1 || l.Oldest.IsZero() || !strings.Contains(l.Status, "7") {
		t.Errorf("the slow group is %d events behind since %v, with status %q; want 1, and a word about the 7",
			l.Events, l.Oldest, l.Status)
	}
	if l := e.lagOf(info, "fast")[0]; l.Events != 0 || l.Status != "" {
		t.Errorf("the other group is %d events behind, with status %q; want 0 and none", l.Events, l.Status)
	}
	slow := e.join(e.conn, info.Name, "slow")
	slow.holes = true
	if got := ids(slow.take(1)); got[0] != "8" {
		t.Errorf("the slow group goes on with %s, want the last one, 8", got[0])
	}
	slow.settle(0, slow.got[0].Position)
	if l = e.lagOf(info, "slow")[0]; l.Events != 0 {
		t.Errorf("it is %d events behind after the last", l.Events)
	}
}

func checkHoldParked(t T, e *Env) {
	d := e.desk("a", "b", "c", "d")
	d.park(1, driver.Dead)
	d.park(2, driver.Waiting)
	brief := d.info.TopicSettings
	brief.Keep, brief.Hold = time.Millisecond, 2*time.Millisecond
	e.must("set", capability[driver.Topics](e).SetTopic(t.Context(), d.info.Name, brief))
	e.sweptTo(d.info, 1)
	d.wantStates("the log is gone", "1 dead", "2 waiting")
	d.wantDue("the log is gone", "2")
	if g := e.groupInfo("group", d.info.Name); g == nil || g.Dropped != 1 {
		t.Errorf("the group is %+v, want one event dropped, the third", g)
	}
}

// fill publishes to a topic of 1,000 bytes until that is full, and returns how many
// events it took and the batch that it refused.
func (e *Env) fill(info driver.TopicInfo) (int, driver.Batch, error) {
	e.t.Helper()
	for n := 1; n <= 12; n++ {
		m := message(fmt.Sprint(n), "key")
		m.Data = make([]byte, 100)
		b := batch(info, 0, m)
		if e.features.Sequence {
			b.Producer, b.Seq = "producer", int64(n)
		}
		if err := e.publishErr(b); err != nil {
			return n - 1, b, err
		}
	}
	e.t.Fatalf("a topic of 1,000 bytes took 1,200")
	panic("unreachable")
}

func checkFull(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1, Keep: time.Millisecond, MaxBytes: 1000})
	if info.MaxBytes != 1000 || e.describe(info).MaxBytes != 1000 {
		t.Errorf("MaxBytes is %d, and then %d, want 1000", info.MaxBytes, e.describe(info).MaxBytes)
	}
	m := e.join(e.conn, info.Name, "the-sleeper")
	m.owns(1)
	n, refused, err := e.fill(info)
	if !errors.Is(err, driver.ErrFull) || !strings.Contains(err.Error(), "the-sleeper") {
		t.Errorf("the full topic says: %v; want ErrFull, and the group's name", err)
	}
	if n < 9 {
		t.Errorf("a topic of 1,000 bytes was full with %d", n*100)
	}
	if e.sweep(info); e.describe(info).Events != int64(n) {
		t.Errorf("the topic has %d events, want the %d that it accepted", e.describe(info).Events, n)
	}
	if e.features.Sequence { // what is stored is accepted, whatever the room
		again := refused
		again.Seq--
		e.wantStored("the one before the refused, again", e.publish(e.conn, again)[0], 0)
	}
	other := e.topic(driver.TopicSettings{Partitions: 1, MaxBytes: 1000})
	rs, err := receipts(t.Context(), e.conn, refused, batch(other, 0, message("1", "")))
	if err != nil || !errors.Is(rs[0].Err, driver.ErrFull) || rs[1].Err != nil {
		t.Errorf("a full topic and one with room say: %v, %v; want ErrFull and nil", rs, err)
	}
	more := e.describe(info).TopicSettings
	more.MaxBytes = driver.NoBound
	e.must("set", capability[driver.Topics](e).SetTopic(t.Context(), info.Name, more))
	e.eventually("the topic without a bound takes events", func() bool { return e.publishErr(refused) == nil })
	m.take(n + 1)
}

func checkBound(t T, e *Env) {
	for asked, want := range map[int64]int64{0: e.features.MaxTopicBytes, driver.NoBound: 0, 5000: 5000} {
		info := e.topic(driver.TopicSettings{Partitions: 1, MaxBytes: asked})
		for what, got := range map[string]driver.TopicInfo{"made": info, "described": e.describe(info)} {
			if max(got.MaxBytes, 0) != want {
				t.Errorf("a topic %s with %d for its bound has %d, want %d", what, asked, got.MaxBytes, want)
			}
		}
		same := info.TopicSettings
		same.Keep = time.Hour
		e.must("set", capability[driver.Topics](e).SetTopic(t.Context(), info.Name, same))
		if got := e.describe(info).MaxBytes; max(got, 0) != want {
			t.Errorf("when something else is set, the bound %d becomes %d", want, got)
		}
	}
}

func checkFullGoesOn(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1, Keep: time.Millisecond, MaxBytes: 1000})
	m := e.join(e.open(), info.Name, "group")
	m.owns(1)
	n, refused, err := e.fill(info)
	e.wantErr("the full topic", err, driver.ErrFull)
	m.take(n)
	m.settle(0, m.got[n-2].Position)
	e.eventually("the topic takes the refused event", func() bool {
		e.sweep(info)
		return e.publishErr(refused) == nil
	})
	m.take(n + 1)
	if got, want := m.got[n].ID, refused.Messages[0].ID; got != want {
		t.Errorf("after the first %d came %s, want %s", n, got, want)
	}
}

func checkBytes(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2, Keep: time.Millisecond})
	var bs []driver.Batch
	for p := range 2 {
		ms := numbered(1, 10)
		for i := range ms {
			ms[i].Data = make([]byte, 100*(i+1)+p)
		}
		bs = append(bs, batch(info, p, ms...))
	}
	e.publish(e.conn, bs...)
	if got := e.describe(info); got.Bytes != 11_010 && got.Events == 20 {
		t.Errorf("20 events of 11,010 bytes are counted as %d", got.Bytes)
	}
	e.sweptTo(info, 2)
	if got := e.describe(info).Bytes; got != 2_001 {
		t.Errorf("the last two, of 2,001 bytes, are counted as %d", got)
	}
}
