package drivertest

import (
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var startChecks = []Check{
	{
		Name:    "start-at-the-beginning",
		Promise: "A new group on an old topic starts at the beginning, unless told otherwise.",
		Why:     "A service deployed today has to know the orders of yesterday.",
		Needs:   needs(groups, backlog),
		Run: func(t T, e *Env) {
			info, _ := e.history()
			e.wantStart(info, driver.From{}, "1", "2", "3", "4", "5", "6")
		},
	},
	{
		Name:    "start-at-the-end",
		Promise: "From.End starts after everything that is there.",
		Why:     "A notifier must not send the mails of last year.",
		Needs:   needs(groups),
		Run: func(t T, e *Env) {
			info, _ := e.history()
			m := e.joinFrom(e.conn, info.Name, "group", driver.From{End: true})
			e.publish(e.conn, batch(info, 0, numbered(7, 1)...))
			if got := ids(m.take(1)); got[0] != "7" {
				t.Errorf("got %v, want only the event published afterwards", got)
			}
			m.quiet("the group starts at the end")
		},
	},
	{
		Name:    "start-at-a-time",
		Promise: "From.Time starts at the first event stored at or after the time, in every partition.",
		Why:     "\"Handle again what happened since noon\" is how incidents are repaired.",
		Needs:   needs(groups, backlog),
		Run: func(t T, e *Env) {
			info, middle := e.history()
			e.wantStart(info, driver.From{Time: middle}, "3", "4", "5", "6")
		},
	},
	{
		Name:    "start-at-a-cursor",
		Promise: "From.Cursor starts after its positions; partitions that it does not name start at the beginning.",
		Why:     "A group moved from elsewhere goes on where it was.",
		Needs:   needs(groups, backlog),
		Run: func(t T, e *Env) {
			info, _ := e.history()
			m := e.join(e.conn, info.Name, "scout")
			var cursor string
			for _, d := range m.take(6) {
				if d.ID == "3" {
					cursor = d.Position
				}
			}
			e.wantStart(info, driver.From{Cursor: map[int]string{0: cursor}}, "2", "4", "5", "6")
		},
	},
	{
		Name:    "start-only-once",
		Promise: "From says where a group starts that does not exist; one that does goes on.",
		Why:     "A restart with From.End must not jump over what waited.",
		Needs:   needs(groups),
		Run: func(t T, e *Env) {
			info, _ := e.history("group")
			m := e.join(e.conn, info.Name, "group")
			m.owns(2)
			m.close()
			e.wantStart(info, driver.From{End: true}, "1", "2", "3", "4", "5", "6")
		},
	},
	{
		Name:    "no-backlog-no-pretence",
		Promise: "Where a new group gets only what comes after it, what no group would get is not accepted.",
		Why:     "An event that is accepted and kept for nobody is lost, and its publisher has no way to know.",
		Needs:   needs(groups, noBacklog),
		Run:     checkNoBacklog,
	},
}

// history makes a topic of two partitions: 1, 3, 5 in the first and 2, 4, 6 in the
// second, of which 1 and 2 were stored before middle. The groups named get them, whatever
// they find of what was published before them.
func (e *Env) history(groups ...string) (info driver.TopicInfo, middle time.Time) {
	e.t.Helper()
	info = e.topic(driver.TopicSettings{Partitions: 2})
	e.expect(info, append(groups, "before the middle")...)
	pair := func(n int) []driver.Batch {
		return []driver.Batch{batch(info, 0, numbered(n, 1)...), batch(info, 1, numbered(n+1, 1)...)}
	}
	e.publish(e.conn, pair(1)...)
	// The engine's clock counts, which need not be this one: events say when they were
	// stored, and the next are stored when that is past.
	scout := e.join(e.conn, info.Name, "before the middle")
	var last time.Time
	for _, d := range scout.take(2) {
		if d.Stored.After(last) {
			last = d.Stored
		}
	}
	scout.close()
	middle = last.Add(5 * time.Millisecond).Truncate(time.Millisecond)
	for n := 3; n <= 5; n += 2 {
		e.pass(10 * time.Millisecond)
		e.publish(e.conn, pair(n)...)
	}
	return info, middle
}

// checkNoBacklog publishes with and without a group, and starts groups in the past.
func checkNoBacklog(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	e.wantErr("publish to a topic without groups", e.publishErr(batch(info, 1, numbered(1, 1)...)), driver.ErrNotStored)
	first := e.join(e.conn, info.Name, "first")
	e.publish(e.conn, batch(info, 1, numbered(2, 2)...))
	second := e.join(e.conn, info.Name, "second")
	e.publish(e.conn, batch(info, 1, numbered(4, 1)...))
	if got := ids(first.take(3)); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("the first group got %v, want 2, 3 and 4", got)
	}
	if got := ids(second.take(1)); !slices.Equal(got, []string{"4"}) {
		t.Errorf("the second group got %v, want 4", got)
	}
	for what, from := range map[string]driver.From{
		"a time": {Time: time.Now()}, "a cursor": {Cursor: map[int]string{0: first.got[0].Position}},
	} {
		spec := driver.SubscribeSpec{Topic: info.Name, Group: "past", From: from, Lease: lease}
		_, err := e.conn.Subscribe(t.Context(), spec)
		e.wantErr("a new group from "+what, err, driver.ErrRefused)
	}
}

// pass lets the engine's clock go on. A check does this only where the passing of
// time is what it is about.
func (e *Env) pass(d time.Duration) {
	e.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.t.Context().Done():
		e.t.Fatalf("%v", e.t.Context().Err())
	}
}

// wantStart joins the group "group" from somewhere and wants exactly these events.
func (e *Env) wantStart(info driver.TopicInfo, from driver.From, want ...string) {
	e.t.Helper()
	m := e.joinFrom(e.conn, info.Name, "group", from)
	got := ids(m.take(len(want)))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.t.Errorf("the group starts with %v, want %v", got, want)
	}
	m.quiet("the group had all it should")
}
