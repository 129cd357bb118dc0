package drivertest

import (
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var browseChecks = []Check{
	{
		Name:    "browse-pages",
		Promise: "Browse pages through a partition forwards and backwards, and does not wait.",
		Why:     "Looking into a topic must not need a group, nor leave one behind.",
		Needs:   needs(browse),
		Run:     checkBrowsePages,
	},
	{
		Name:    "browse-every-field",
		Promise: "Browse returns events as they were accepted.",
		Why:     "What one sees must be what handlers get.",
		Needs:   needs(browse),
		Run: func(t T, e *Env) {
			info := e.topic(driver.TopicSettings{Partitions: 2})
			want := oddities()
			e.publish(e.conn, batch(info, 1, want...))
			for i, d := range e.page(driver.Page{Topic: info.Name, Partition: 1, Limit: 100}) {
				sameMessage(t, &d.Message, &want[i])
				if d.Partition != 1 || d.Position == "" || d.Stored.IsZero() || d.Replay {
					t.Errorf("event %q is at %d-%s, stored %v, replay %v", d.ID, d.Partition, d.Position, d.Stored, d.Replay)
				}
			}
		},
	},
	{
		Name:    "browse-seek",
		Promise: "Seek finds the position before the first event stored at or after a time.",
		Why:     "\"What happened at noon\" is asked in times, not positions.",
		Needs:   needs(browse),
		Run:     checkSeek,
	},
	{
		Name:    "browse-ends",
		Promise: "Ends returns the last position of every partition.",
		Why:     "Reading \"everything there is\" needs to know where that ends.",
		Needs:   needs(browse),
		Run:     checkEnds,
	},
	{
		Name:    "browse-compare",
		Promise: "Compare orders positions as the log does, and refuses what is none.",
		Why:     "Positions are opaque text: \"9\" is before \"10\".",
		Needs:   needs(browse),
		Run:     checkCompare,
	},
}

func (e *Env) page(p driver.Page) []driver.Delivery {
	e.t.Helper()
	ds, err := capability[driver.Browser](e).Browse(e.t.Context(), p)
	e.must("browse", err)
	return ds
}

func checkBrowsePages(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	if ds := e.page(driver.Page{Topic: info.Name, Limit: 5}); len(ds) > 0 {
		t.Errorf("an empty partition has %v", ids(ds))
	}
	e.publish(e.conn, batch(info, 0, numbered(1, 12)...), batch(info, 1, numbered(21, 1)...))
	all := e.page(driver.Page{Topic: info.Name, Limit: 100})
	if len(all) != 12 {
		t.Fatalf("%d events are there, want 12", len(all))
	}
	at := func(n int) string { return all[n-1].Position }
	for _, c := range []struct {
		what string
		page driver.Page
		want []string
	}{
		{"the first 3", driver.Page{Limit: 3}, []string{"1", "2", "3"}},
		{"the next 3", driver.Page{After: at(3), Limit: 3}, []string{"4", "5", "6"}},
		{"what is left", driver.Page{After: at(10), Limit: 3}, []string{"11", "12"}},
		{"after the last", driver.Page{After: at(12), Limit: 3}, nil},
		{"the last 3", driver.Page{Limit: 3, Backward: true}, []string{"12", "11", "10"}},
		{"the 3 before", driver.Page{After: at(10), Limit: 3, Backward: true}, []string{"9", "8", "7"}},
		{"before the third", driver.Page{After: at(3), Limit: 3, Backward: true}, []string{"2", "1"}},
		{"before the first", driver.Page{After: at(1), Limit: 3, Backward: true}, nil},
	} {
		c.page.Topic = info.Name
		if got := ids(e.page(c.page)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	if g, ok := driver.As[driver.Groups](e.conn); ok {
		if lags, err := g.Lag(t.Context(), "", info.Name); err == nil && len(lags) > 0 {
			t.Errorf("browsing left a group behind: %+v", lags)
		}
	}
}

func checkSeek(t T, e *Env) {
	info, middle := e.history()
	b := capability[driver.Browser](e)
	for p := range 2 {
		all := e.page(driver.Page{Topic: info.Name, Partition: p, Limit: 10})
		for _, c := range []struct {
			what string
			at   time.Time
			want string
		}{
			{"before everything", all[0].Stored.Add(-time.Hour), ""},
			{"in the middle", middle, all[0].Position},
			{"at the time of the second", all[1].Stored, all[0].Position},
			{"after everything", all[2].Stored.Add(time.Hour), all[2].Position},
		} {
			if got, err := b.Seek(t.Context(), info.Name, p, c.at); err != nil || got != c.want {
				t.Errorf("partition %d: seek %s finds %q, %v, want %q", p, c.what, got, err, c.want)
			}
		}
	}
}

func checkEnds(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 3})
	b := capability[driver.Browser](e)
	if ends, err := b.Ends(t.Context(), info.Name); err != nil || !slices.Equal(ends, []string{"", "", ""}) {
		t.Errorf("ends of an empty topic are %q, %v, want three empty ones", ends, err)
	}
	e.publish(e.conn, batch(info, 0, numbered(1, 11)...), batch(info, 2, numbered(21, 1)...))
	first := e.page(driver.Page{Topic: info.Name, Limit: 20})
	third := e.page(driver.Page{Topic: info.Name, Partition: 2, Limit: 20})
	want := []string{first[10].Position, "", third[0].Position}
	if ends, err := b.Ends(t.Context(), info.Name); err != nil || !slices.Equal(ends, want) {
		t.Errorf("ends are %q, %v, want %q", ends, err, want)
	}
}

func checkCompare(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, 11)...))
	all := e.page(driver.Page{Topic: info.Name, Limit: 20})
	b := capability[driver.Browser](e)
	for i := range all {
		for j := range all {
			got, err := b.Compare(all[i].Position, all[j].Position)
			if err != nil || got != min(1, max(-1, i-j)) {
				t.Errorf("Compare(%q, %q) = %d, %v, want %d",
					all[i].Position, all[j].Position, got, err, min(1, max(-1, i-j)))
			}
		}
	}
	_, err := b.Compare("no position", all[0].Position)
	e.wantErr("Compare of what is no position", err, driver.ErrRefused)
	_, err = b.Compare(all[0].Position, "no position")
	e.wantErr("Compare with what is no position", err, driver.ErrRefused)
}
