package drivertest

import (
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// describe asks for a topic's present state.
func (e *Env) describe(info driver.TopicInfo) driver.TopicInfo {
	e.t.Helper()
	got, err := capability[driver.Topics](e).Topic(e.t.Context(), info.Name)
	e.must("describe", err)
	return got
}

func checkDelayCounted(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	if got := e.describe(info); got.Scheduled != 0 || !got.NextDue.IsZero() {
		t.Errorf("a new topic has %d scheduled, the first for %v; want none", got.Scheduled, got.NextDue)
	}
	hour, day := time.Now().Add(time.Hour), time.Now().Add(24*time.Hour)
	e.publish(e.conn, batch(info, 0, later("1", "", day), message("2", ""), later("3", "", hour)),
		batch(info, 1, later("4", "", day)))
	want := func(when string, events, scheduled int64, next time.Time) {
		t.Helper()
		got := e.describe(info)
		if got.Events != events || got.Scheduled != scheduled || !about(got.NextDue, next) {
			t.Errorf("%s: %d events and %d scheduled, the first for %v; want %d, %d, %v",
				when, got.Events, got.Scheduled, got.NextDue, events, scheduled, next)
		}
	}
	want("three are for later", 1, 3, hour)
	if b, ok := driver.As[driver.Browser](e.conn); ok {
		ends, err := b.Ends(t.Context(), info.Name)
		if err != nil || ends[0] == "" || ends[1] != "" {
			t.Errorf("the partitions end at %q, %v; want one event in the first alone", ends, err)
		}
	}
	e.publish(e.conn, batch(info, 1, later("5", "", time.Now().Add(soon))))
	e.eventually("the one for soon is stored", func() bool { return e.describe(info).Events == 2 })
	want("one has had its time", 2, 3, hour)
}

func checkDelayDurable(t T, e *Env) {
	now := e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	other := e.open()
	due := now().Add(soon)
	e.publish(other, batch(info, 0, later("1", "key", due), later("2", "key", due.Add(time.Millisecond))))
	e.must("close", other.Close())
	if e.features.Durability > driver.Memory { // nobody is left, not even past the time
		e.must("close", e.conn.Close())
		for now().Before(due.Add(soon)) {
			e.pass(turn)
		}
		e.conn = e.open()
	}
	m := e.join(e.conn, info.Name, "group")
	if got := ids(m.take(2)); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got %v, want both", got)
	}
	m.quiet("both had come")
}

func checkDelayDeleted(t T, e *Env) {
	ctx, topics, now := t.Context(), capability[driver.Topics](e), e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	due := now().Add(soon)
	e.publish(e.conn, batch(info, 0, later("1", "", due), later("2", "", now().Add(time.Hour))))
	e.must("delete", topics.DeleteTopic(ctx, info.Name))
	anew, err := topics.CreateTopic(ctx, info.Name, driver.TopicSettings{Partitions: 1})
	e.must("create it anew", err)
	if anew.Scheduled != 0 || !anew.NextDue.IsZero() {
		t.Errorf("created anew it has %d scheduled, the first for %v; want none", anew.Scheduled, anew.NextDue)
	}
	m := e.join(e.conn, info.Name, "group")
	for now().Before(due.Add(soon)) {
		e.during(turn, m)
	}
	if got := ids(m.got); len(got) > 0 {
		t.Errorf("%v came from the topic of before", got)
	}
}

func checkDelaySequence(t T, e *Env) {
	now := e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	due := now().Add(soon)
	b := produced(info, "producer", 1, later("1", "key", due), later("2", "key", due.Add(time.Millisecond)))
	e.wantStored("two for later", e.publish(e.conn, b)[0], 2)
	e.wantStored("again", e.publish(e.conn, b)[0], 0)
	e.wantErr("4 after 2", e.publishErr(produced(info, "producer", 4, message("5", "key"))), driver.ErrGap)
	e.wantStored("the next", e.publish(e.conn, produced(info, "producer", 3, message("3", "key")))[0], 1)
	m := e.join(e.conn, info.Name, "group")
	m.take(3)
	e.wantStored("again, after their time", e.publish(e.open(), b)[0], 0)
	m.quiet("it came before")
}

func checkDelayDedupe(t T, e *Env) {
	now := e.clock()
	info := e.topic(driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	once, twice := later("1", "", now().Add(soon)), later("1", "", now().Add(2*soon))
	e.wantStored("twice in a batch", e.publish(e.conn, batch(info, 0, once, twice))[0], 1)
	e.wantStored("for later, by another call", e.publish(e.conn, batch(info, 0, twice))[0], 0)
	e.wantStored("for now", e.publish(e.conn, batch(info, 0, message("1", "")))[0], 0)
	e.wantStored("another, for now", e.publish(e.conn, batch(info, 0, message("2", "")))[0], 1)
	e.wantStored("and for later", e.publish(e.conn, batch(info, 0, later("2", "", now().Add(soon))))[0], 0)
	m := e.join(e.conn, info.Name, "group")
	m.take(2)
	e.wantStored("after its time", e.publish(e.conn, batch(info, 0, message("1", "")))[0], 0)
	for end := now().Add(3 * soon); now().Before(end); {
		e.during(turn, m)
	}
	m.quiet("it is a duplicate")
	if len(m.got) != 2 {
		t.Errorf("got %v, want 1 and 2 once", ids(m.got))
	}
}
