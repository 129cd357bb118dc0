package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/bridge"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmqtt"
	"github.com/deedgo/deed/internal/mqtttest"
)

// What devices publish while the bridge is away, or the broker, is stored too, in order.
func TestInMissesNothingWhileItIsAway(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testInMissesNothing(t, "?version="+version)
		})
	}
}

func testInMissesNothing(t *testing.T, query string) {
	const many = 3000 // more than a bridge lets wait
	broker := mqtttest.Start(t, "max_inflight_messages 0")
	bus := store(t)
	k := collect(t, bus, readings)
	var connections atomic.Int32
	ready := func(n int32) {
		t.Helper()
		eventually(t, "the bridge is not ready", func() bool { return connections.Load() >= n })
	}
	in := &bridge.In{
		Broker: broker.URL() + query, Name: "edge", Filter: "sensors/#", Topic: readings,
		Ready: func() { connections.Add(1) },
	}
	stop := run(t, bus, in)
	ready(1)
	device := dial(t, broker.URL()+query, deedmqtt.SessionOptions{})
	announce(t, device, "sensors/hall", numbers(1, 100)...)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	announce(t, device, "sensors/hall", numbers(101, many)...)
	run(t, bus, in)
	announce(t, device, "sensors/hall", numbers(many+1, many+100)...)
	ready(2)
	eventually(t, "it does not get on", func() bool { return len(k.all()) >= many+100 })
	broker.Restart()
	ready(3)
	device = dial(t, broker.URL()+query, deedmqtt.SessionOptions{})
	announce(t, device, "sensors/hall", numbers(many+101, many+200)...)
	want := numbers(1, many+200)
	eventually(t, "it does not get on after a restart", func() bool { return len(k.all()) >= len(want) })
	if got := idsOf(k.all()); !slices.Equal(got, want) {
		t.Errorf("stored %v\nwant %v", got, want)
	}
	for _, e := range k.all() {
		if e.Extensions["mqtttopic"] != "sensors/hall" || e.Key != "sensors/hall" || e.Source != "/device" {
			t.Fatalf("stored as %+v", e)
		}
	}
}

// The bus is away while devices publish: the broker keeps what it has no word about.
func TestInAcknowledgesOnlyWhatIsStored(t *testing.T) {
	t.Parallel()
	broker := mqtttest.Start(t)
	dir := t.TempDir()
	bus := openBus(t, "sqlite:"+filepath.Join(dir, "bus.db"))
	full := deed.NewTopic("full", &deed.TopicOptions{MaxBytes: 1000, Keep: time.Nanosecond})
	// A group that does not get on holds what it has not handled, and the topic is full.
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	var mu sync.Mutex
	var got []string
	run(t, bus, deed.Subscribe("slow", nil, deed.OnAny(full, func(ctx context.Context, e deed.Received[[]byte]) error {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, e.ID)
		return nil
	})))
	in := &bridge.In{Broker: broker.URL(), Name: "edge", Filter: "s", Topic: full, Retained: true}
	run(t, bus, in)
	device := dial(t, broker.URL(), deedmqtt.SessionOptions{})
	data := []byte(strings.Repeat("x", 100))
	var as []deedmqtt.Announcement
	for _, id := range append([]string{"probe"}, numbers(1, 50)...) {
		as = append(as, deedmqtt.Announcement{Topic: "s", Message: &driver.Message{
			ID: id, Source: "/d", Type: "t", Version: 1, ContentType: "text/plain", Data: data,
		}})
	}
	eventually(t, "the bridge does not subscribe", func() bool {
		return device.Publish(t.Context(), as[:1]) == nil && topicBytes(t, bus, "full") > 0
	})
	if errs := device.Publish(t.Context(), as[1:]); errs != nil {
		t.Fatal(errs)
	}
	eventually(t, "the topic is not full", func() bool { return topicBytes(t, bus, "full") > 800 })
	release()
	eventually(t, "it does not get on", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(got, "50")
	})
	mu.Lock()
	defer mu.Unlock()
	at := slices.Index(got, "1")
	if at < 0 || !slices.Equal(slices.Compact(got[at:]), numbers(1, 50)) {
		t.Errorf("handled %v, want 1 to 50 in order", got)
	}
}

// Whatever a device publishes arrives, as what it is.
func TestInTakesEverything(t *testing.T) {
	t.Parallel()
	const plain, octets = "mqtt.message", "application/octet-stream"
	broker := mqtttest.Start(t)
	bus := store(t)
	k := collect(t, bus, readings)
	run(t, bus, &bridge.In{Broker: broker.URL(), Name: "edge", Filter: "#", Topic: readings, Type: plain})
	pub := func(args ...string) {
		t.Helper()
		broker.Publish(t, append([]string{"-q", "1"}, args...)...)
	}
	eventually(t, "the bridge does not subscribe", func() bool {
		pub("-t", "probe", "-m", "1")
		return len(k.all()) > 0
	})
	large := filepath.Join(t.TempDir(), "large")
	if out, err := exec.Command("head", "-c", "20000000", "/dev/zero").Output(); err != nil {
		t.Fatal(err)
	} else {
		writeFile(t, large, out)
	}
	pub("-t", "house/kitchen", "-m", `{"celsius":21.5}`)
	pub("-t", "house/kitchen", "-V", "311", "-m", "warm")
	pub("-t", "house/Küche", "-V", "5", "-m", "", "-D", "publish", "user-property", "unit", "K")
	pub("-t", "binary", "-V", "5", "-D", "publish", "user-property", "specversion", "1.0",
		"-D", "publish", "user-property", "id", "b1", "-D", "publish", "user-property", "source", "/x",
		"-D", "publish", "user-property", "type", "x.y", "-D", "publish", "content-type", "text/plain", "-m", "hello")
	pub("-t", "structured", "-V", "5", "-D", "publish", "content-type", "application/cloudevents+json",
		"-m", `{"specversion":"1.0","id":"s1","source":"/x","type":"x.z","data":{"a":1}}`)
	pub("-t", "document", "-V", "311", "-m", `{"specversion":"1.0","id":"s2","source":"/x","type":"x.z","data":{"a":2}}`)
	pub("-t", "broken", "-V", "5", "-D", "publish", "user-property", "specversion", "1.0",
		"-D", "publish", "user-property", "id", "b2", "-D", "publish", "user-property", "time", "yesterday", "-m", "late")
	pub("-t", "badname", "-V", "5", "-D", "publish", "user-property", "specversion", "1.0",
		"-D", "publish", "user-property", "Bad-Name", "x", "-m", "odd")
	pub("-t", "large", "-f", large)
	pub("-t", "last", "-m", "last")
	byTopic := func() map[string]deed.Event {
		m := map[string]deed.Event{}
		for _, e := range k.all() {
			m[e.Extensions["mqtttopic"]] = e
			if e.Extensions["mqtttopic"] == "house/kitchen" {
				m["house/kitchen "+string(e.Data)] = e
			}
		}
		return m
	}
	eventually(t, "not everything arrives", func() bool { return byTopic()["last"].ID != "" })
	got := byTopic()
	for topic, want := range map[string]deed.Event{
		`house/kitchen {"celsius":21.5}`: {Type: plain, Data: []byte(`{"celsius":21.5}`)},
		"house/kitchen warm":             {Type: plain, ContentType: "text/plain; charset=utf-8", Data: []byte("warm")},
		"binary":                         {Type: "x.y", ContentType: "text/plain", Data: []byte("hello"), ID: "b1"},
		"structured":                     {Type: "x.z", Data: []byte(`{"a":1}`), ID: "s1"},
		"document":                       {Type: "x.z", Data: []byte(`{"a":2}`), ID: "s2"},
		"broken":                         {Type: bridge.RefusedType, ContentType: octets, Data: []byte("late")},
		"badname":                        {Type: bridge.RefusedType, ContentType: octets, Data: []byte("odd")},
		"house/Küche":                    {Type: plain},
	} {
		e, ok := got[topic]
		if !ok || e.Type != want.Type || want.ContentType != "" && e.ContentType != want.ContentType ||
			string(e.Data) != string(want.Data) || want.ID != "" && e.ID != want.ID {
			t.Errorf("%s came as %+v, data %q", topic, e, e.Data)
		}
	}
	if e := got["large"]; e.Type != bridge.RefusedType || !strings.Contains(string(e.Data), `"bytes":20000000`) {
		t.Errorf("a message of 20 MB came as %s with %d bytes: %.100s", e.Type, len(e.Data), e.Data)
	}
}

// What a service announces reaches devices, in order of its key, and does not come back.
func TestOutCarriesAndNothingGoesInCircles(t *testing.T) {
	t.Parallel()
	broker := mqtttest.Start(t)
	bus := store(t)
	commands := deed.NewTopic("house.commands", nil)
	k := collect(t, bus, commands)
	var mu sync.Mutex
	heard := map[string][]string{}
	device := dial(t, broker.URL(), deedmqtt.SessionOptions{Hear: func(h deedmqtt.Heard) {
		mu.Lock()
		defer mu.Unlock()
		heard[h.Topic] = append(heard[h.Topic], h.Message.ID)
	}})
	if err := device.Subscribe(t.Context(), deedmqtt.Subscription{Filter: "#"}); err != nil {
		t.Fatal(err)
	}
	to := func(e deed.Event) string { return "house/" + e.Key }
	run(t, bus,
		&bridge.In{Broker: broker.URL(), Name: "both", Filter: "#", Topic: commands},
		&bridge.Out{Broker: broker.URL(), Name: "both", Topic: commands, To: to})
	eventually(t, "the bridge does not subscribe", func() bool {
		announce(t, device, "from/device", "d")
		return len(k.all()) > 0
	})
	var drafts []deed.Draft
	for i := range 100 {
		key := fmt.Sprint("room", i%5)
		drafts = append(drafts, deed.NewDraft(commands, deed.Event{
			ID: strconv.Itoa(i), Type: "switch", Key: key, Data: []byte("1"),
		}))
	}
	if err := bus.Publish(t.Context(), drafts...); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for topic, ids := range heard {
			if strings.HasPrefix(topic, "house/") {
				n += len(ids)
			}
		}
		return n
	}
	eventually(t, "not everything arrives", func() bool { return count() >= 100 })
	announce(t, device, "from/device", "end")
	eventually(t, "the end does not arrive", func() bool { return slices.Contains(idsOf(k.all()), "end") })
	mu.Lock()
	defer mu.Unlock()
	for topic, ids := range heard {
		if !strings.HasPrefix(topic, "house/") {
			continue
		}
		var want []string
		for i := range 100 {
			if "house/"+fmt.Sprint("room", i%5) == topic {
				want = append(want, strconv.Itoa(i))
			}
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%s heard %v, want %v", topic, ids, want)
		}
	}
	for _, e := range k.all() {
		if e.Extensions["mqttbridge"] != "" && e.Source != "/device" {
			t.Errorf("%+v came back", e)
		}
	}
}

// Two bridges of one name end each other's connections, as the broker wants it: they say
// so, and nothing is lost.
func TestTwoBridgesOfOneName(t *testing.T) {
	t.Parallel()
	broker := mqtttest.Start(t)
	bus := store(t)
	k := collect(t, bus, readings)
	log := &lockedBuffer{}
	in := func() *bridge.In {
		return &bridge.In{
			Broker: broker.URL(), Name: "edge", Filter: "#", Topic: readings,
			Logger: slog.New(slog.NewTextHandler(log, nil)),
		}
	}
	run(t, bus, in())
	device := dial(t, broker.URL(), deedmqtt.SessionOptions{})
	eventually(t, "the bridge does not subscribe", func() bool {
		announce(t, device, "t", "probe")
		return len(k.all()) > 0
	})
	run(t, bus, in())
	announce(t, device, "t", numbers(1, 200)...)
	eventually(t, "they do not say it", func() bool { return strings.Contains(log.String(), "another program") })
	announce(t, device, "t", numbers(201, 400)...)
	eventually(t, "something is lost", func() bool {
		seen := map[string]bool{}
		for _, e := range k.all() {
			seen[e.ID] = true
		}
		return len(seen) == 401
	})
}

func TestWhatABridgeRefuses(t *testing.T) {
	t.Parallel()
	broker := mqtttest.Start(t)
	bus := store(t)
	air := openBus(t, "mem+pubsub:")
	for want, c := range map[string]struct {
		bus *deed.Bus
		r   deed.Runner
	}{
		"Name is empty":   {bus, &bridge.In{Broker: broker.URL(), Filter: "#", Topic: readings}},
		"Filter is empty": {bus, &bridge.In{Broker: broker.URL(), Name: "a", Topic: readings}},
		"Topic is nil":    {bus, &bridge.In{Broker: broker.URL(), Name: "a", Filter: "#"}},
		"keeps nothing":   {air, &bridge.In{Broker: broker.URL(), Name: "a", Filter: "#", Topic: readings}},
		"a/#/b":           {bus, &bridge.In{Broker: broker.URL(), Name: "a", Filter: "a/#/b", Topic: readings}},
		"scheme":          {bus, &bridge.Out{Broker: "http://h", Name: "a", Topic: readings}},
		"Topic is":        {bus, &bridge.Out{Broker: broker.URL(), Name: "a"}},
		"no groups":       {air, &bridge.Out{Broker: broker.URL(), Name: "a", Topic: readings}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := c.bus.Run(ctx, c.r)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want something about %q", c.r, err, want)
		}
	}
}
