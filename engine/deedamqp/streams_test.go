package deedamqp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/rabbittest"
)

func (s *shop) topics() driver.Topics {
	topics, _ := driver.As[driver.Topics](s.Conn)
	return topics
}

func (s *shop) browser() driver.Browser {
	b, _ := driver.As[driver.Browser](s.Conn)
	return b
}

// reset sets the group billing on orders.
func (s *shop) reset(to driver.From) {
	s.t.Helper()
	r, _ := driver.As[driver.Resetter](s.Conn)
	if err := r.ResetGroup(s.t.Context(), "billing", "orders", driver.Reset{To: to, Fence: true}); err != nil {
		s.t.Fatal(err)
	}
}

// stuck receives until partition 0 is told not to be readable.
func (m *member) stuck() error {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		got, err := m.sub.Receive(m.t.Context(), driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			m.t.Fatal(err)
		}
		m.got = append(m.got, got.Deliveries...)
		for _, c := range got.Granted {
			m.claims[c.Partition] = c
		}
		for _, s := range got.Stopped {
			return s.Err
		}
	}
	m.t.Fatal("nothing was said to stop")
	return nil
}

// A topic in queues is none in streams, nor the other way round, and both say so.
func testKinds(t *testing.T, s *rabbittest.Server) {
	queues, streams := open(t, s.URL()), open(t, s.URL()+streaming)
	streams.state = queues.state
	streams.Conn = streams.another(s.URL() + streaming)
	queues.topic("letters", 1, "billing")
	info := streams.topic("orders", 1, "billing")
	for _, c := range []struct {
		shop        *shop
		topic, hint string
	}{{queues, "orders", "say queues=stream"}, {streams, "letters", "leave queues=stream out"}} {
		_, err := c.shop.topics().CreateTopic(t.Context(), c.topic, driver.TopicSettings{Partitions: 1})
		wantRefused(t, "creating "+c.topic, err, c.hint)
		_, err = c.shop.topics().Topic(t.Context(), c.topic)
		wantRefused(t, "looking at "+c.topic, err, c.hint)
		spec := driver.SubscribeSpec{Topic: c.topic, Group: "billing", Lease: time.Second}
		_, err = c.shop.Subscribe(t.Context(), spec)
		wantRefused(t, "subscribing to "+c.topic, err, c.hint)
		err = c.shop.try(driver.TopicInfo{Name: c.topic}, event(1))
		wantRefused(t, "publishing to "+c.topic, err, c.hint)
		all, err := c.shop.topics().Topics(t.Context())
		if err != nil || len(all) != 1 {
			t.Errorf("its topics are %+v, %v, want its own", all, err)
		}
	}
	spec := driver.SubscribeSpec{Topic: "letters", Group: "late", From: driver.From{Time: time.Now()}, Lease: time.Second}
	_, err := queues.Subscribe(t.Context(), spec)
	wantRefused(t, "a group from a time, on queues", err, "queues=stream in the URL")
	streams.publish(info, event(1))
	streams.join(streams.Conn, "orders", "billing").take(1)
}

// What is there and not deed's is refused by name; what is there of a topic whose state was
// lost is taken over, with its events.
func testStreamTopology(t *testing.T, s *rabbittest.Server) {
	shop, ch := open(t, s.URL()+streaming), stranger(t, s.URL())
	if _, err := ch.QueueDeclare("queued/0", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	_, err := shop.topics().CreateTopic(t.Context(), "queued", driver.TopicSettings{Partitions: 1})
	wantRefused(t, "a topic whose stream is a queue", err, "stream queued/0")
	foreign := amqp.Table{amqp.QueueTypeArg: "stream"}
	if _, err := ch.QueueDeclare("foreign/0", true, false, false, false, foreign); err != nil {
		t.Fatal(err)
	}
	if err := ch.PublishWithContext(t.Context(), "", "foreign/0", true, false, amqp.Publishing{}); err != nil {
		t.Fatal(err)
	}
	_, err = shop.topics().CreateTopic(t.Context(), "foreign", driver.TopicSettings{Partitions: 1})
	wantRefused(t, "a topic whose stream is another one's", err, "no marker")
	_, err = shop.topics().CreateTopic(t.Context(), "kept", driver.TopicSettings{Partitions: 1, MaxBytes: 1})
	wantRefused(t, "a bound on bytes", err, "bound on bytes")

	info := shop.topic("orders", 2)
	shop.publish(info, event(1), event(2))
	anew := open(t, s.URL()+streaming)
	_, err = anew.topics().CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
	wantRefused(t, "the topic with another number of partitions, in another state", err, "with 2 partitions")
	if err := anew.topics().DeleteTopic(t.Context(), "nothing"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("deleting nothing: %v", err)
	}
	other := open(t, s.URL()+streaming)
	if _, err := other.topics().CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	if got := ids(other.join(other.Conn, "orders", "billing").take(2)); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("with another state the events are %v, want 1 and 2", got)
	}

	looking := *shop
	looking.Conn = shop.another(s.URL() + streaming + "&topology=check")
	looking.join(looking.Conn, "orders", "audit").take(2)
	_, err = looking.topics().CreateTopic(t.Context(), "more", driver.TopicSettings{Partitions: 1})
	wantRefused(t, "making a topic with topology=check", err, "exchange more")
	wantRefused(t, "deleting with topology=check", looking.topics().DeleteTopic(t.Context(), "orders"), "other means")
}

// A stream that went while nobody looked is a loss. A group that had handled more than the new
// one has is told, and goes on when it is reset.
func testStreamLost(t *testing.T, s *rabbittest.Server) {
	shop, ch := open(t, s.URL()+streaming), stranger(t, s.URL())
	info := shop.topic("orders", 1)
	for n := range 5 {
		shop.publish(info, event(n))
	}
	m := shop.join(shop.Conn, "orders", "billing")
	m.settle(m.take(5)[4])
	m.release()
	m.close()
	if _, err := ch.QueueDelete("orders/0", false, false, false); err != nil {
		t.Fatal(err)
	}
	err := shop.try(info, event(5))
	if !errors.Is(err, driver.ErrNotFound) || !errors.Is(err, driver.ErrLost) {
		t.Errorf("publishing to a stream that is gone: %v, want ErrNotFound and ErrLost", err)
	}
	lost, err := shop.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "billing", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lost.Receive(t.Context(), driver.Fetch{Events: 1, Bytes: 1}); !errors.Is(err, driver.ErrLost) {
		t.Errorf("the group that joins hears %v, want ErrLost", err)
	}
	if err := lost.Close(); err != nil {
		t.Error(err)
	}
	shop.publish(info, event(6))
	m = shop.join(shop.Conn, "orders", "billing")
	if err := m.stuck(); !errors.Is(err, driver.ErrLost) || !strings.Contains(err.Error(), "reset the group") {
		t.Errorf("it is told %v, want ErrLost", err)
	}
	groups, _ := driver.As[driver.Groups](shop.Conn)
	lags, err := groups.Lag(t.Context(), "billing", "orders")
	if err != nil || !strings.Contains(lags[0].Status, "reset the group") {
		t.Errorf("lag says %+v, %v", lags, err)
	}
	shop.reset(driver.From{})
	if got := ids(m.take(1)); got[0] != "6" {
		t.Errorf("after the reset came %v", got)
	}
}

// A member that runs while its stream is replaced by another one, as long, is told.
func testStreamReplaced(t *testing.T, s *rabbittest.Server) {
	shop, ch := open(t, s.URL()+streaming), stranger(t, s.URL())
	info := shop.topic("orders", 1)
	shop.publish(info, event(1), event(2))
	m := shop.join(shop.another(s.URL()+streaming), "orders", "billing")
	m.settle(m.take(2)[1])
	if _, err := ch.QueueDelete("orders/0", false, false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.topics().CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	shop.publish(info, event(3), event(4), event(5))
	var err error
	for err == nil || errors.Is(err, driver.ErrAway) {
		var got driver.Received
		if got, err = m.sub.Receive(t.Context(), driver.Fetch{Events: 1, Bytes: 1}); len(got.Stopped) > 0 {
			err = got.Stopped[0].Err
		}
		if len(got.Deliveries) > 0 {
			t.Fatalf("%v came", ids(got.Deliveries))
		}
	}
	if !errors.Is(err, driver.ErrLost) || !strings.Contains(err.Error(), "another event than before") {
		t.Errorf("it is told %v, want ErrLost", err)
	}
	shop.reset(driver.From{})
	m.got = nil
	if got := ids(m.take(3)); !slices.Equal(got, []string{"3", "4", "5"}) {
		t.Errorf("after the reset came %v", got)
	}
}

// What was published is before the end, and can be read, at once, whatever else is written,
// also when it is more than one reading brings.
func testStreamEnds(t *testing.T, s *rabbittest.Server) {
	shop := open(t, s.URL()+streaming)
	info := shop.topic("orders", 1)
	random := rand.New(rand.NewPCG(3, 4))
	stored := 0
	for round := range 60 {
		var ms []driver.Message
		for range 1 + random.IntN(10) + round%10/9*2500 {
			stored++
			ms = append(ms, event(stored))
		}
		shop.publish(info, ms...)
		from := shop
		if round%3 == 0 { // one that has never looked
			other := *shop
			other.Conn = shop.another(s.URL() + streaming)
			from = &other
		}
		ends, err := from.browser().Ends(t.Context(), "orders")
		if err != nil || ends[0] != fmt.Sprint(stored) {
			t.Fatalf("round %d: the end is %q, %v, want %d", round, ends, err, stored)
		}
		back, err := from.browser().Browse(t.Context(), driver.Page{Topic: "orders", Limit: len(ms), Backward: true})
		if err != nil || len(back) != len(ms) || back[0].ID != fmt.Sprint(stored) || back[len(ms)-1].ID != ms[0].ID {
			t.Fatalf("round %d: %d events, %v, want the last %d", round, len(back), err, len(ms))
		}
	}
	all, err := shop.browser().Browse(t.Context(), driver.Page{Topic: "orders", Limit: stored + 1})
	if err != nil || len(all) != stored {
		t.Fatalf("%d events, %v, want %d", len(all), err, stored)
	}
	for i := range all {
		if want := fmt.Sprint(i + 1); all[i].ID != want || all[i].Position != want {
			t.Fatalf("event %d is %s at %s", i+1, all[i].ID, all[i].Position)
		}
	}
	page := driver.Page{Topic: "orders", After: fmt.Sprint(stored + 7), Limit: 1}
	beyond, err := shop.browser().Browse(t.Context(), page)
	if err != nil || len(beyond) > 0 {
		t.Errorf("behind the end are %v, %v", ids(beyond), err)
	}
}

// A time is found to the event, inside of chunks too.
func testStreamSeek(t *testing.T, s *rabbittest.Server) {
	shop := open(t, s.URL()+streaming)
	info := shop.topic("orders", 1)
	var ms []driver.Message
	for n := range 3000 {
		ms = append(ms, event(n+1))
	}
	shop.publish(info, ms...)
	all, err := shop.browser().Browse(t.Context(), driver.Page{Topic: "orders", Limit: len(ms)})
	if err != nil || len(all) != len(ms) {
		t.Fatalf("%d events, %v", len(all), err)
	}
	for _, i := range []int{0, 1, 2, 511, 512, 1777, 2998, 2999} {
		want := ""
		if i > 0 {
			want = all[i-1].Position
		}
		if got, err := shop.browser().Seek(t.Context(), "orders", 0, all[i].Stored); err != nil || got != want {
			t.Errorf("the time of event %d is found after %q, %v, want %q", i+1, got, err, want)
		}
	}
	if err := shop.topics().DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.topics().CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	} // the end that is remembered is another one's
	ends, err := shop.browser().Ends(t.Context(), "orders")
	if err != nil || ends[0] != "" {
		t.Errorf("the end of the new topic is %q, %v", ends, err)
	}
}

// Where a policy lets the server remove events, a group that has not handled them is told, and
// goes on from a cursor. One that has is told nothing: the server's own entries are no holes.
func testStreamRemoved(t *testing.T, s *rabbittest.Server) {
	s.Ctl("set_policy", "small", "^orders/", `{"max-length-bytes":200000,"stream-max-segment-size-bytes":50000}`,
		"--apply-to", "queues")
	defer s.Ctl("clear_policy", "small")
	shop := open(t, s.URL()+streaming)
	info := shop.topic("orders", 1, "billing", "quick")
	quick := shop.join(shop.another(s.URL()+streaming), "orders", "quick")
	data := make([]byte, 2000)
	n := 0
	first := func() driver.Delivery {
		ds, err := shop.browser().Browse(t.Context(), driver.Page{Topic: "orders", Limit: 1})
		if err != nil || len(ds) != 1 {
			t.Fatalf("the first event: %v, %v", ds, err)
		}
		return ds[0]
	}
	for n == 0 || first().ID == "1" {
		for range 20 {
			n++
			m := event(n)
			m.Data = data
			shop.publish(info, m)
		}
		quick.settle(quick.take(n)[n-1])
	}
	for i, d := range quick.got {
		if d.ID != fmt.Sprint(i+1) {
			t.Fatalf("event %s came after %d others", d.ID, i)
		}
	}
	if last := quick.got[n-1].Position; last == fmt.Sprint(n) {
		t.Errorf("event %d is at %s: the server has written nothing of its own, and nothing was tried", n, last)
	}
	m := shop.join(shop.another(s.URL()+streaming), "orders", "billing")
	err := m.stuck()
	if !errors.Is(err, driver.ErrLost) || !strings.Contains(err.Error(), "events 1 to") {
		t.Fatalf("the slow group is told %v, want ErrLost", err)
	}
	left := first()
	_, text, _ := strings.Cut(err.Error(), "cursor with ")
	shop.reset(driver.From{Cursor: map[int]string{0: strings.TrimSuffix(text, ")")}})
	if got := m.take(1)[0]; got.ID != left.ID {
		t.Errorf("after the reset that it is told of event %s comes, want %s", got.ID, left.ID)
	}
	m.got = nil
	shop.reset(driver.From{})
	if got := m.take(1)[0]; got.ID != left.ID {
		t.Errorf("after a reset to the beginning event %s comes, want %s", got.ID, left.ID)
	}
	if got := shop.join(shop.Conn, "orders", "late").take(1)[0]; got.ID != left.ID {
		t.Errorf("a new group gets event %s first, want %s", got.ID, left.ID)
	}
}
