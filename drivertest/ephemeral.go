package drivertest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var ephemeralChecks = []Check{
	{
		Name:    "listeners-hear-all",
		Promise: "Whatever is published once Subscribe has returned comes to every listener, once, whole and in order.",
		Why:     "At most once is no licence to lose, double or mix up what could have been passed on.",
		Needs:   needs(ephemeral),
		Run:     checkListenersHearAll,
	},
	{
		Name:    "listeners-share-nothing",
		Promise: "Listeners of one name share nothing, and each has bytes of its own.",
		Why:     "There are no groups here: a second process must not take half of what the first one hears.",
		Needs:   needs(ephemeral),
		Run:     checkListenersShareNothing,
	},
	{
		Name:    "nothing-is-kept",
		Promise: "What is published while nobody listens is accepted and gone.",
		Why:     "A late listener that is handed old news would take it for new.",
		Needs:   needs(ephemeral),
		Run:     checkNothingIsKept,
	},
	{
		Name:    "unheard-is-counted",
		Promise: "A listener that fetches nothing keeps the latest, within bounds, and is told how many went by.",
		Why:     "Slowness must neither fill the memory nor look like silence.",
		Needs:   needs(ephemeral),
		Run:     checkUnheardIsCounted,
	},
	{
		Name:    "listener-bounds",
		Promise: "Receive returns no more than it was asked for, nothing while there is no room, and a large event alone.",
		Why:     "The bound is the memory that the program has left.",
		Needs:   needs(ephemeral),
		Run:     checkListenerBounds,
	},
	{
		Name:    "announced-large",
		Promise: "A large event comes whole; one above the engine's limit is refused.",
		Why:     "A size that is accepted and then passed on to nobody is lost without a word.",
		Needs:   needs(ephemeral),
		Run:     checkAnnouncedLarge,
	},
	{
		Name:    "listener-closed",
		Promise: "Closing ends a Receive that waits; every call after it is ErrClosed, and closing again does nothing.",
		Why:     "A stop must not hang on a topic where nothing happens.",
		Needs:   needs(ephemeral),
		Run:     checkListenerClosed,
	},
}

// aired is a topic as an ephemeral engine knows it: by name.
func (e *Env) aired() driver.TopicInfo { return driver.TopicInfo{Name: e.freshName()} }

func checkListenersHearAll(t T, e *Env) {
	info, other := e.aired(), e.aired()
	near, far := e.join(e.conn, info.Name, "near"), e.join(e.open(), info.Name, "far")
	want := append(oddities(), numbered(1, 500)...)
	before := time.Now()
	for part := range slices.Chunk(want, 50) {
		e.publish(e.conn, batch(other, 0, message("not yours", "")), batch(info, 0, part...))
	}
	for _, m := range []*member{near, far} {
		got := m.take(len(want))
		for i := range min(len(got), len(want)) {
			sameMessage(t, &got[i].Message, &want[i])
			if d := got[i].Stored.Sub(before); d < -time.Minute || d > time.Minute {
				t.Errorf("event %q says it came at %v, which was at about %v", got[i].ID, got[i].Stored, before)
			}
		}
		m.quiet("everything had come")
	}
}

func checkListenersShareNothing(t T, e *Env) {
	info := e.aired()
	first, second := e.join(e.conn, info.Name, "group"), e.join(e.open(), info.Name, "group")
	ms := numbered(1, 100)
	ms[0].Data = []byte("as published")
	e.publish(e.conn, batch(info, 0, ms...))
	copy(ms[0].Data, "overwritten!")
	for _, m := range []*member{first, second} {
		d := m.take(len(ms))[0]
		if string(d.Data) != "as published" {
			t.Errorf("data is %q, want %q", d.Data, "as published")
		}
		copy(d.Data, "handled by one")
	}
}

func checkNothingIsKept(t T, e *Env) {
	info := e.aired()
	rs := e.publish(e.conn, batch(info, 0, numbered(1, 3)...))
	if rs[0].Stored != 3 {
		t.Errorf("nobody listens, and the receipt says %d of 3", rs[0].Stored)
	}
	gone := e.join(e.conn, info.Name, "gone")
	gone.owns(1)
	gone.close()
	e.publish(e.conn, batch(info, 0, numbered(4, 3)...))
	late := e.join(e.open(), info.Name, "late")
	late.owns(1)
	late.quiet("it was published earlier")
	e.publish(e.conn, batch(info, 0, message("now", "")))
	if got := ids(late.take(1)); !slices.Equal(got, []string{"now"}) {
		t.Errorf("the late listener hears %v, want what came once it was there", got)
	}
}

func checkUnheardIsCounted(t T, e *Env) {
	info := e.aired()
	m := e.join(e.conn, info.Name, "slow")
	m.owns(1)
	const batches, size = 100, 100
	for i := range batches {
		ms := numbered(i*size+1, size)
		for j := range ms {
			ms[j].Data = bytes.Repeat([]byte{'x'}, 2<<10)
		}
		e.publish(e.conn, batch(info, 0, ms...))
	}
	e.eventually("something of 20 MB went by", func() bool { // it is still on its way, maybe
		m.receive(driver.Fetch{Events: 1, Bytes: 1, Full: []int{0}}, turn)
		return m.missed.Events > 0
	})
	e.until("what came and what went by add up", func() bool {
		return int64(len(m.got))+m.missed.Events >= batches*size
	}, m)
	if n := int64(len(m.got)) + m.missed.Events; n != batches*size {
		t.Errorf("%d came and %d went by, want %d in all", len(m.got), m.missed.Events, batches*size)
	}
	last := 0
	for _, d := range m.got {
		var n int
		if _, err := fmt.Sscan(d.ID, &n); err != nil || n <= last {
			t.Fatalf("event %s came after %d", d.ID, last)
		}
		last = n
	}
	if last != batches*size {
		t.Errorf("the latest that came is %d of %d: old news are worth less", last, batches*size)
	}
}

func checkListenerBounds(t T, e *Env) {
	info := e.aired()
	m := e.join(e.conn, info.Name, "bound")
	m.owns(1)
	ms := numbered(1, 20)
	for i := range ms {
		ms[i].Data = make([]byte, 1000)
	}
	ms[10].Data = make([]byte, 5000)
	e.publish(e.conn, batch(info, 0, ms...))
	if got, ok := m.receive(driver.Fetch{Events: 10, Bytes: roomyBytes, Full: []int{0}}, 2*turn); ok {
		t.Errorf("%d events came, and there was no room", len(got.Deliveries))
	}
	deadline := time.Now().Add(patience)
	for len(m.got) < len(ms) && time.Now().Before(deadline) {
		m.receive(driver.Fetch{Events: 3, Bytes: 2500}, turn) // which checks the bounds
	}
	if !slices.Equal(ids(m.got), ids20()) {
		t.Errorf("heard %v, want 1 to 20", ids(m.got))
	}
}

func ids20() []string {
	s := make([]string, 20)
	for i := range s {
		s[i] = fmt.Sprint(i + 1)
	}
	return s
}

func checkAnnouncedLarge(t T, e *Env) {
	size, limit := 1<<20, e.features.MaxEventBytes
	if limit > 0 {
		size = min(size, limit)
	}
	info := e.aired()
	m := e.join(e.conn, info.Name, "large")
	large := message("large", "key")
	large.Data = bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	e.publish(e.conn, batch(info, 0, message("before", "key"), large, message("after", "key")))
	got := m.take(3)
	sameMessage(t, &got[1].Message, &large)
	if limit > 0 && limit <= 64<<20 {
		large.Data = make([]byte, limit+1)
		e.wantErr("an event above MaxEventBytes", e.publishErr(batch(info, 0, large)), driver.ErrRefused)
	}
}

func checkListenerClosed(t T, e *Env) {
	ctx, info := t.Context(), e.aired()
	for _, what := range []string{"subscription", "connection"} {
		conn := e.open()
		m := e.join(conn, info.Name, "group")
		m.owns(1)
		ended := make(chan error, 1)
		e.meanwhile(func() error {
			_, err := m.sub.Receive(ctx, roomy())
			ended <- err
			return nil
		})
		if what == "connection" {
			e.must("close", conn.Close())
			e.must("close again", conn.Close())
			_, err := tryPublish(ctx, conn, batch(info, 0, message("1", "")))
			e.wantErr("Publish on a closed connection", err, driver.ErrClosed)
			_, err = conn.Subscribe(ctx, m.spec)
			e.wantErr("Subscribe on a closed connection", err, driver.ErrClosed)
		}
		m.close()
		m.close()
		timer := time.NewTimer(patience)
		select {
		case err := <-ended:
			e.wantErr("Receive, when its "+what+" closed", err, driver.ErrClosed)
		case <-timer.C:
			t.Errorf("Receive still waits %v after its %s closed", patience, what)
		}
		timer.Stop()
		_, err := m.sub.Receive(ctx, roomy())
		e.wantErr("Receive on a closed subscription", err, driver.ErrClosed)
		_, err = m.sub.Settle(ctx, []driver.Settlement{{Epoch: 1}})
		e.wantErr("Settle on a closed subscription", err, driver.ErrClosed)
	}
}
