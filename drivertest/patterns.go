package drivertest

import (
	"cmp"
	"context"
	"slices"

	"github.com/deedgo/deed/driver"
)

var patternsChecks = []Check{
	{
		Name:    "pattern-hears-what-matches",
		Promise: "A pattern's listener gets each event of the topics that match once, with the topic's name.",
		Why:     "Whoever asks for sensors.* has to hear the sensor that is installed tomorrow, and know which it was.",
		Needs:   needs(patterns),
		Run:     checkPattern,
	},
	{
		Name:    "pattern-is-exact",
		Promise: "In a pattern only * is special: it stands for any characters, dots included.",
		Why:     "Engines have rules of their own for patterns; a program must not mean something else on each.",
		Needs:   needs(patterns),
		Run:     checkPatternExact,
	},
}

// published is an event's id and the topic that it says it comes from.
type published struct{ id, topic string }

// heard returns what a member by pattern got, by id: there is no order across topics.
func heard(ds []driver.Delivery) []published {
	ps := make([]published, len(ds))
	for i, d := range ds {
		ps[i] = published{d.ID, d.Topic}
	}
	slices.SortFunc(ps, func(a, b published) int { return cmp.Compare(a.id, b.id) })
	return ps
}

// byPattern joins by a pattern.
func (e *Env) byPattern(conn driver.Conn, pattern, group string) *member {
	e.t.Helper()
	subscriber := on[driver.Patterns](e, conn)
	return e.joinBy(conn, pattern, group, func(ctx context.Context, s driver.SubscribeSpec) (driver.Subscription, error) {
		return subscriber.SubscribePattern(ctx, s)
	})
}

func checkPattern(t T, e *Env) {
	base := e.freshName()
	all, ovens := e.byPattern(e.conn, base+".*", "all"), e.byPattern(e.open(), base+".*.oven", "ovens")
	one := e.join(e.conn, base+".hall", "one")
	for id, topic := range []string{".hall", ".kitchen.oven", "", ".kitchen", ".hall"} {
		m := message(string(rune('a'+id)), "")
		e.publish(e.conn, batch(driver.TopicInfo{Name: base + topic}, 0, m))
	}
	want := []published{
		{"a", base + ".hall"}, {"b", base + ".kitchen.oven"}, {"d", base + ".kitchen"}, {"e", base + ".hall"},
	}
	if got := heard(all.take(4)); !slices.Equal(got, want) {
		t.Errorf("the pattern %s.* hears %v, want %v", base, got, want)
	}
	if got := heard(ovens.take(1)); !slices.Equal(got, want[1:2]) {
		t.Errorf("the pattern %s.*.oven hears %v, want %v", base, got, want[1:2])
	}
	if got := ids(one.take(2)); !slices.Equal(got, []string{"a", "e"}) {
		t.Errorf("the topic's own listener hears %v, want a and e", got)
	}
	all.quiet("each event comes once")
	ovens.quiet("the others do not match")
}

func checkPatternExact(t T, e *Env) {
	base := e.freshName()
	for _, pattern := range []string{base + ".a*", base + ".*b", base + ".*a.b*", base + ".a*b*c", base + ".*"} {
		m := e.byPattern(e.open(), pattern, "of"+pattern[len(base):])
		var want []string
		topics := []string{".a", ".ab", ".xb", ".axb", ".a.b", ".xa.bx", ".xaxbx", ".abc", ".a-b-c", ".acb", ".", "xa", ""}
		for _, topic := range topics {
			if driver.MatchTopic(pattern, base+topic) {
				want = append(want, "of "+topic)
			}
			e.publish(e.conn, batch(driver.TopicInfo{Name: base + topic}, 0, message("of "+topic, "")))
		}
		slices.Sort(want)
		if got := sorted(ids(m.take(len(want)))); !slices.Equal(got, want) {
			t.Errorf("%s hears %q, want %q", pattern, got, want)
		}
		m.quiet("it does not match")
		m.close()
	}
}
