package deedamqp_test

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/rabbittest"
)

// stranger is a channel of a program without deed.
func stranger(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// What another client publishes deed reads: as CloudEvents in both modes, and what is none.
func testStrangerPublishes(t *testing.T, s *rabbittest.Server, query string) {
	shop := open(t, s.URL()+query)
	shop.topic("quakes", 1, "alarm")
	ch := stranger(t, s.URL())
	for _, p := range []amqp.Publishing{
		{ContentType: "application/json", Body: []byte(`{"mag":5}`), Headers: amqp.Table{
			"cloudEvents:specversion": "1.0", "cloudEvents:id": "q1", "cloudEvents:source": "/usgs",
			"cloudEvents:type": "quake", "cloudEvents:time": time.Unix(1715000000, 0), "cloudEvents:partitionkey": "de",
			"cloudEvents:depth": int32(12), "other": "header",
		}},
		{ContentType: "application/cloudevents+json; charset=UTF-8", Body: []byte(`{"specversion":"1.0","id":"q2",` +
			`"source":"/usgs","type":"quake","partitionkey":"fr","data":{"mag":6}}`)},
		{MessageId: "q3", Type: "tremor", Body: []byte("no event at all")},
		{Headers: amqp.Table{"cloudEvents_id": "q4", "cloudEvents_time": "noon"}, Body: []byte("x")},
		{Body: []byte("nameless")},
	} {
		if err := ch.PublishWithContext(t.Context(), "quakes", "0", true, false, p); err != nil {
			t.Fatal(err)
		}
	}
	ds := shop.join(shop.Conn, "quakes", "alarm").take(5)
	for i, want := range []driver.Message{
		{ID: "q1", Source: "/usgs", Type: "quake", Key: "de", Data: []byte(`{"mag":5}`)},
		{ID: "q2", Source: "/usgs", Type: "quake", Key: "fr", Data: []byte(`{"mag":6}`)},
		{ID: "q3", Source: "/amqp/quakes", Type: "tremor", Data: []byte("no event at all")},
	} {
		if d := ds[i]; d.ID != want.ID || d.Source != want.Source || d.Type != want.Type || d.Key != want.Key ||
			string(d.Data) != string(want.Data) || d.Unreadable != "" {
			t.Errorf("event %d is %+v with data %s, unreadable %q, want %+v", i, d.Message, d.Data, d.Unreadable, want)
		}
	}
	if d := ds[0]; d.Attributes["depth"] != "12" || d.Attributes["other"] != "" ||
		!d.Time.Equal(time.Unix(1715000000, 0)) {
		t.Errorf("the first has time %v, attributes %v", d.Time, d.Attributes)
	}
	if d := ds[3]; !strings.Contains(d.Unreadable, "noon") || d.ID != "q4" {
		t.Errorf("the fourth is %q: unreadable %q, want it to name its time", d.ID, d.Unreadable)
	}
	if d := ds[4]; d.ID != d.Position || d.Type != "quakes" {
		t.Errorf("the last has id %q, type %q, want its position and the topic", d.ID, d.Type)
	}
}

// What deed publishes another client reads, with the headers of CloudEvents.
func testStrangerConsumes(t *testing.T, s *rabbittest.Server) {
	shop := open(t, s.URL())
	info := shop.topic("orders", 1, "billing")
	ch := stranger(t, s.URL())
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err == nil {
		err = ch.QueueBind(q.Name, "0", "orders", false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	came, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := event(7)
	m.ContentType, m.Attributes = "application/json", map[string]string{"subject": "o/7"}
	shop.publish(info, m)
	r := <-came
	if string(r.Body) != `{"n":7}` || r.ContentType != "application/json" || r.DeliveryMode != amqp.Persistent ||
		r.MessageId != "7" || r.Type != "orders.created" {
		t.Errorf("it is %+v with body %s", r, r.Body)
	}
	for name, want := range map[string]string{
		"specversion": "1.0", "id": "7", "source": "/test", "type": "orders.created", "subject": "o/7", "partitionkey": "k",
	} {
		if got := r.Headers["cloudEvents_"+name]; got != want {
			t.Errorf("header %s is %v, want %s", name, got, want)
		}
	}
}
