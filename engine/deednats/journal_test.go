package deednats

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/internal/natstest"
)

// TestJournalIsSummedUp fills a journal and its side log beyond what an entry holds, and
// reads it with another connection.
func TestJournalIsSummedUp(t *testing.T) {
	t.Parallel()
	for _, start := range []func(testing.TB, ...string) *natstest.Server{natstest.Start, natstest.StartOld} {
		s := start(t)
		c := open(t, s.URL())
		info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
		if err != nil {
			t.Fatal(err)
		}
		const events = 3 * inline
		retry(t, c, driver.Batch{Topic: "orders", Generation: info.Generation, Messages: messages(1, events)})
		m := join(t, c, "orders", patience)
		m.take(events)
		claim := m.claims[0]
		var ps []driver.Parked
		for i := range events {
			x := driver.Message{ID: fmt.Sprint(i + 1), Source: "/test", Type: "tested", Version: 1, Key: fmt.Sprint(i % 7)}
			ps = append(ps, driver.Parked{Letter: driver.Letter{State: driver.Behind,
				Delivery: driver.Delivery{Message: x, Position: driverkit.Position(int64(i + 1))}}})
		}
		if err := c.Park(t.Context(), claim, ps); err != nil {
			t.Fatal(err)
		}
		for i := range 3 * compactAfter {
			m.at = driverkit.Position(int64(i + 1))
			m.settle()
		}
		stream, err := c.js.Stream(t.Context(), c.names.groups("orders"))
		if err != nil {
			t.Fatal(err)
		}
		journal := c.names.journal(life{"orders", info.Generation}, "group", 0)
		kept, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(journal))
		if err != nil {
			t.Fatal(err)
		}
		for subject, n := range kept.State.Subjects {
			if n > 2*compactAfter {
				t.Errorf("%s has %d entries after %d settlements", subject, n, 3*compactAfter)
			}
		}
		other := open(t, s.URL())
		all, err := other.List(t.Context(), driver.LetterFilter{Limit: 2 * events})
		if err != nil || len(all) != events {
			t.Fatalf("another connection sees %d records, %v; want %d", len(all), err, events)
		}
		due, err := other.Due(t.Context(), claim, 100)
		if err != nil || len(due) != 7 {
			t.Errorf("%d keys are due, %v; want 7", len(due), err)
		}
		lags, err := other.Lag(t.Context(), "group", "orders")
		if err != nil || lags[0].Position != m.at || lags[0].Parked != events || lags[0].Events != 0 {
			t.Errorf("the lag is %+v, %v; want position %s, %d parked and none behind", lags, err, m.at, events)
		}
		if err := m.sub.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestProducersAreWrittenDown lets another connection go on with a sequence of which most
// was written down and, of the messages themselves, removed.
func TestProducersAreWrittenDown(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := open(t, s.URL())
	info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1, Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	const batches = 2*writeDown + 5
	for i := range batches {
		b := driver.Batch{Topic: "orders", Generation: info.Generation, Producer: "p q", Messages: messages(i, 1)}
		b.Seq = int64(i + 1)
		if r := publish(t, c, b); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for range 2 {
		other := open(t, s.URL())
		last := driver.Batch{Topic: "orders", Producer: "p q", Seq: batches, Messages: messages(batches-1, 1)}
		if r := publish(t, other, last); r.Err != nil || r.Stored != 0 {
			t.Errorf("the last event again: %d stored, %v; want none", r.Stored, r.Err)
		}
		if n, err := other.Sweep(t.Context(), "orders"); err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
	}
	if got, err := c.Topic(t.Context(), "orders"); err != nil || got.Events != 1 {
		t.Errorf("the topic has %d events, %v; want 1", got.Events, err)
	}
}

// FuzzMessage reads what may be no message of deed's.
func FuzzMessage(f *testing.F) {
	var data []byte
	for _, m := range messages(1, 3) {
		data, _ = appendEvent(data, nil, &m)
	}
	f.Add("1 42 8400 3 17 =producer", data)
	f.Add("1 3 12 3 0 = 101,102", data[:10])
	f.Fuzz(func(t *testing.T, header string, data []byte) {
		m := message{subject: "s", header: map[string][]string{headerName: {header}}, data: data}
		s, err := parseStamp(&m)
		if err != nil {
			return
		}
		if again, err := parseStamp(&message{header: map[string][]string{headerName: {s.String()}}}); err != nil ||
			again.String() != s.String() {
			t.Errorf("%q is written as %q: %v", header, s.String(), err)
		}
		ds, err := decode(&m, &s, 0, 0)
		if err == nil && int64(len(ds)) != s.count {
			t.Errorf("%q has %d events", header, len(ds))
		}
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"orders", "a.b c*>", "ключ", "=2E", ""} {
		got, err := text(token(name))
		if err != nil || got != name {
			t.Errorf("%q is written as %q, and read as %q, %v", name, token(name), got, err)
		}
	}
}
