package deedamqp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedamqp"
	"github.com/deedgo/deed/internal/rabbittest"
)

// What is there with other arguments is refused by name, and so is what is missing where
// nothing may be made.
func testTopology(t *testing.T, s *rabbittest.Server) {
	shop, ch := open(t, s.URL()), stranger(t, s.URL())
	topics, _ := driver.As[driver.Topics](shop.Conn)
	if err := ch.ExchangeDeclare("taken", amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	_, err := topics.CreateTopic(t.Context(), "taken", driver.TopicSettings{Partitions: 1})
	wantRefused(t, "a topic whose exchange is another one's", err, "exchange taken")
	if info, err := topics.Topic(t.Context(), "taken"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a topic that was refused is there: %+v, %v", info, err)
	}

	shop.topic("orders", 2)
	if _, err := ch.QueueDeclare("orders/billing/1", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	spec := driver.SubscribeSpec{Topic: "orders", Group: "billing", Lease: time.Second}
	_, err = shop.Subscribe(t.Context(), spec)
	wantRefused(t, "a group whose queue is another one's", err, "queue orders/billing/1")

	looking := shop.another(s.URL() + "?topology=check")
	spec.Group = "audit"
	_, err = looking.Subscribe(t.Context(), spec)
	wantRefused(t, "a group without queues, with topology=check", err, "queue orders/audit/0")
	shop.join(shop.Conn, "orders", "audit").close()
	m := shop.join(looking, "orders", "audit")
	m.until("its claims, now that they are there", func() bool { return len(m.claims) == 2 })
	m.release()
	m.close()
	groups, _ := driver.As[driver.Groups](looking)
	wantRefused(t, "deleting with topology=check", groups.DeleteGroup(t.Context(), "audit", "orders"), "other means")
}

func wantRefused(t *testing.T, what string, err error, text string) {
	t.Helper()
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want ErrRefused with %q", what, err, text)
	}
}

// A queue that goes under a running member is a loss, and the group is told.
func testQueueLost(t *testing.T, s *rabbittest.Server) {
	shop, ch := open(t, s.URL()), stranger(t, s.URL())
	info := shop.topic("orders", 1, "billing")
	m := shop.join(shop.Conn, "orders", "billing")
	m.until("its claim", func() bool { return len(m.claims) == 1 })
	if _, err := ch.QueueDelete("orders/billing/0", false, false, false); err != nil {
		t.Fatal(err)
	}
	_, err := m.sub.Receive(t.Context(), driver.Fetch{Events: 1, Bytes: 1})
	for late := time.Now().Add(time.Minute); errors.Is(err, driver.ErrAway) && time.Now().Before(late); {
		_, err = m.sub.Receive(t.Context(), driver.Fetch{Events: 1, Bytes: 1}) // what it was asked meanwhile has failed
	}
	if !errors.Is(err, driver.ErrLost) || !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Receive is %v, want ErrLost and ErrNotFound", err)
	}
	m.close()
	err = shop.try(info, event(1))
	if !errors.Is(err, driver.ErrNotStored) || !strings.Contains(err.Error(), "no group") {
		t.Errorf("publish to no queue: %v, want ErrNotStored that says so", err)
	}
	again, err := shop.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "billing", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Receive(t.Context(), driver.Fetch{Events: 1, Bytes: 1}); !errors.Is(err, driver.ErrLost) {
		t.Errorf("the group that joins again hears %v, want ErrLost once", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	m = shop.join(shop.Conn, "orders", "billing")
	shop.publish(info, event(2))
	m.take(1)
}

// Examine tells what a server is.
func testExamine(t *testing.T, s *rabbittest.Server) {
	for _, what := range []string{"server", "heartbeat", "topology"} {
		wantFinding(t, s.URL(), what, driver.Good)
	}
	s.Ctl("add_user", "reader", "secret")
	s.Ctl("set_permissions", "reader", "^$", ".*", ".*")
	reader := strings.Replace(s.URL(), "guest:guest", "reader:secret", 1)
	wantFinding(t, reader, "topology", driver.Wrong)
	wantFinding(t, reader+"?topology=check", "topology", driver.Noted)
	_, err := deedamqp.Open(t.Context(), strings.Replace(s.URL(), "guest:guest", "reader:wrong", 1))
	if err == nil || !strings.Contains(err.Error(), "password is wrong") {
		t.Errorf("a wrong password: %v, want a word about it", err)
	}
	_, err = deedamqp.Open(t.Context(), s.URL()+"nowhere")
	wantRefused(t, "a virtual host that is not there", err, "vhost nowhere not found")
}

func wantFinding(t *testing.T, url, what string, want driver.Result) {
	t.Helper()
	found, err := deedamqp.Examine(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.What == what && f.Result != want {
			t.Errorf("%s is %+v, want %s", what, f, want)
		}
	}
}

// What a user may not publish is refused, and what nobody has the exchange of is lost by the
// server: in both cases nothing is stored, and the publisher is told why.
func testPublishErrors(t *testing.T, s *rabbittest.Server) {
	shop, ch := open(t, s.URL()), stranger(t, s.URL())
	info := shop.topic("orders", 1, "billing")
	s.Ctl("add_user", "mute", "secret")
	s.Ctl("set_permissions", "mute", ".*", "^$", ".*")
	mute := *shop
	mute.Conn = shop.another(strings.Replace(s.URL(), "guest:guest", "mute:secret", 1))
	wantRefused(t, "publishing without the right to write", mute.try(info, event(1)), "may not")
	if err := ch.ExchangeDelete("orders", false, false); err != nil {
		t.Fatal(err)
	}
	err := shop.try(info, event(2))
	if !errors.Is(err, driver.ErrNotFound) || !errors.Is(err, driver.ErrLost) || !errors.Is(err, driver.ErrNotStored) {
		t.Errorf("publishing to an exchange that is gone: %v, want ErrNotFound, ErrLost and ErrNotStored", err)
	}
	topics, _ := driver.As[driver.Topics](shop.Conn)
	if _, err := topics.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	m := shop.join(shop.Conn, "orders", "billing")
	shop.publish(info, event(3))
	m.take(1)
}
