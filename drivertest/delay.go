package drivertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var delayChecks = []Check{
	{
		Name:    "delay-until-due",
		Promise: "A delayed event is not in the log, not delivered and no lag before its time, and comes soon after it.",
		Why:     "A reminder that comes early is wrong, and one that counts as lag wakes somebody up.",
		Needs:   needs(groups, delay),
		Run:     checkDelayUntilDue,
	},
	{
		Name:    "delay-in-order",
		Promise: "Delayed events come in order of their times, those of one time in the order of acceptance.",
		Why:     "Many are due at once, at midnight, and a key's reminders still have to come in turn.",
		Needs:   needs(groups, delay),
		Run:     checkDelayOrder,
	},
	{
		Name:    "delay-holds-nothing-back",
		Promise: "A delayed event holds nothing back, not even of its own key and batch.",
		Why:     "What happens in a week must not stop what happens today.",
		Needs:   needs(groups, delay),
		Run:     checkDelayHoldsNothing,
	},
	{
		Name:    "delay-that-has-passed",
		Promise: "An event whose time has passed is stored at once, in its place.",
		Why:     "A service that was down publishes late; late is now.",
		Needs:   needs(groups, delay),
		Run:     checkDelayPassed,
	},
	{
		Name:    "delay-is-counted",
		Promise: "Delayed events are counted as scheduled, with the first time, and as stored when they are.",
		Why:     "Whoever looks for an event has to see that it waits, and until when.",
		Needs:   needs(delay),
		Run:     checkDelayCounted,
	},
	{
		Name:    "delay-is-durable",
		Promise: "A delayed event outlives the connection that published it, and all others where the engine does.",
		Why:     "It was accepted; a deployment before its time must not lose it.",
		Needs:   needs(groups, delay),
		Run:     checkDelayDurable,
	},
	{
		Name:    "delay-ends-with-its-topic",
		Promise: "Delayed events go with their topic, and do not turn up in one of the same name.",
		Why:     "They belong to another life of the log, and to handlers that are no more.",
		Needs:   needs(groups, delay),
		Run:     checkDelayDeleted,
	},
	{
		Name:    "delay-in-sequence",
		Promise: "A producer's sequence counts delayed events when they are accepted.",
		Why:     "A retry must neither schedule an event twice nor find a gap where one waits.",
		Needs:   needs(groups, delay, sequence),
		Run:     checkDelaySequence,
	},
	{
		Name:    "delay-in-the-id-window",
		Promise: "The id window knows delayed events from when they are accepted.",
		Why:     "Publishing a reminder again, now or later, must not make two of it.",
		Needs:   needs(groups, delay, dedupe),
		Run:     checkDelayDedupe,
	},
}

// soon is how long a delay lasts where it has to end within the check, and prompt
// how late its event may come.
const (
	soon   = 300 * time.Millisecond
	prompt = 10 * time.Second
)

// clock returns the engine's clock, which need not be this one. It is never behind
// that, and ahead by no more than storing an event takes.
func (e *Env) clock() func() time.Time {
	e.t.Helper()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	before := time.Now()
	e.publish(e.conn, batch(info, 0, message("probe", "")))
	m := e.join(e.conn, info.Name, "clock")
	ahead := m.take(1)[0].Stored.Sub(before)
	m.close()
	return func() time.Time { return time.Now().Add(ahead) }
}

// later returns an event that is to be delivered at a time.
func later(id, key string, at time.Time) driver.Message {
	m := message(id, key)
	m.NotBefore = at
	return m
}

// about reports whether two times are the same, in the precision of any engine.
func about(a, b time.Time) bool { return a.Sub(b).Abs() <= time.Millisecond }

// wantNoneEarly checks that nothing of a topic of one partition is to be seen
// before its time.
func (e *Env) wantNoneEarly(info driver.TopicInfo, m *member, due map[string]time.Time, clock func() time.Time) {
	e.t.Helper()
	seen := m.got
	if e.features.Browse {
		seen = slices.Concat(seen, e.page(driver.Page{Topic: info.Name, Limit: roomyEvents}))
	}
	behind := int64(0)
	if e.features.Lag {
		behind = e.lagOf(info, m.spec.Group)[0].Events
	}
	now := clock() // after all that was seen
	passed := int64(0)
	for _, at := range due {
		if !at.After(now) {
			passed++
		}
	}
	for _, d := range seen {
		if early := due[d.ID].Sub(now); early > time.Millisecond {
			e.t.Errorf("event %s is there %v before its time", d.ID, early)
		}
	}
	if behind > passed {
		e.t.Errorf("the group is %d events behind when %d have had their time", behind, passed)
	}
}

func checkDelayUntilDue(t T, e *Env) {
	clock := e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.open(), info.Name, "group")
	m.owns(1)
	due := make(map[string]time.Time)
	var ms []driver.Message
	for i := range 3 {
		ms = append(ms, later(fmt.Sprint(i+1), "key", clock().Add(soon+time.Duration(i)*soon/2)))
		due[ms[i].ID] = ms[i].NotBefore
	}
	e.wantStored("three for later", e.publish(e.conn, batch(info, 0, ms...))[0], 3)
	e.until("the three", func() bool {
		e.wantNoneEarly(info, m, due, clock)
		return len(m.got) >= 3
	}, m)
	if late := clock().Sub(due["3"]); late > prompt {
		t.Errorf("the last came %v after its time, want it within %v", late, prompt)
	}
	for i, d := range m.take(3) {
		sameMessage(t, &d.Message, &ms[i])
		if !about(d.NotBefore, due[d.ID]) {
			t.Errorf("event %s was for %v, and says %v", d.ID, due[d.ID], d.NotBefore)
		}
		if d.Stored.Before(due[d.ID].Add(-time.Millisecond)) {
			t.Errorf("event %s says it was stored at %v, before its time, %v", d.ID, d.Stored, due[d.ID])
		}
	}
	m.quiet("all had come")
}

// checkDelayOrder publishes events in no order of their times, four for each, over
// two connections.
func checkDelayOrder(t T, e *Env) {
	const batches, size = 20, 20
	clock := e.clock()
	conns := []driver.Conn{e.conn, e.open()}
	var info driver.TopicInfo
	var want []driver.Message
	for ahead := soon; ; ahead *= 4 {
		info, want = e.topic(driver.TopicSettings{Partitions: 1}), nil
		first := clock().Add(ahead)
		for b := range batches {
			ms := numbered(b*size, size)
			for i := range ms {
				slot := (b*size + i) * 7919 % (batches * size) / 4
				ms[i].NotBefore = first.Add(time.Duration(slot) * time.Millisecond)
				ms[i].Key = fmt.Sprintf("key-%d", i%3)
			}
			e.publish(conns[b%2], batch(info, 0, ms...))
			want = append(want, ms...)
		}
		if clock().Before(first) {
			break // else some were accepted after their time
		}
	}
	slices.SortStableFunc(want, func(a, b driver.Message) int { return a.NotBefore.Compare(b.NotBefore) })
	for i, d := range e.join(e.open(), info.Name, "group").take(batches * size) {
		if d.ID != want[i].ID {
			t.Fatalf("event %s, for %v, came as number %d, where %s, for %v, belongs",
				d.ID, d.NotBefore, i+1, want[i].ID, want[i].NotBefore)
		}
	}
}

func checkDelayHoldsNothing(t T, e *Env) {
	now := e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.conn, info.Name, "group")
	ahead := soon
	for { // until the events without a delay have come before the second's time
		start := len(m.got)
		due := now().Add(ahead)
		e.wantStored("two now, two later", e.publish(e.conn, batch(info, 0,
			later("never", "a", now().Add(time.Hour)), message("1", "a"), later("3", "a", due), message("2", "a")))[0], 4)
		e.until("the events", func() bool { return len(m.got) >= start+2 }, m)
		inTime := now().Before(due)
		e.until("the event for later", func() bool { return len(m.got) >= start+3 }, m)
		if !inTime && ahead < patience/4 {
			ahead *= 4
			continue
		}
		if got := ids(m.got[start:]); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("got %v, want 1 and 2 at once, and 3 later", got)
		}
		break
	}
	m.settle(0, m.got[len(m.got)-1].Position)
	m.quiet("it is for later")
}

func checkDelayPassed(t T, e *Env) {
	now := e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, message("1", "key"), later("2", "key", now().Add(-time.Hour)),
		later("3", "key", now().Add(-prompt)), message("4", "key")))
	if got := e.describe(info); got.Events != 4 || got.Scheduled != 0 {
		t.Errorf("the topic has %d events and %d scheduled, want 4 and none", got.Events, got.Scheduled)
	}
	if got := ids(e.join(e.conn, info.Name, "group").take(4)); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("got %v, want 1 to 4 as they were published", got)
	}
}
