package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/redistest"
	"github.com/deedgo/deed/internal/testenv"
)

type order struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

var (
	orders  = deed.NewTopic("orders", nil)
	created = deed.NewType(orders, "orders.created", 1, func(o order) string { return o.ID })
)

// redis is a server with a bus on it, and redis-cli, as other programs see it.
type redis struct {
	t    *testing.T
	bus  *deed.Bus
	path string
	port string
}

func startRedis(t *testing.T) *redis {
	t.Helper()
	path, err := exec.LookPath("redis-cli")
	testenv.Require(t, "redis-cli on PATH", err)
	s := redistest.Start(t)
	bus, err := engine.Open(t.Context(), s.URL(), &deed.Options{Source: "/shop", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	_, port, _ := strings.Cut(s.Addr(), ":")
	return &redis{t, bus, path, port}
}

// cli runs redis-cli and returns what it prints, without the quotes that it prints on
// a terminal.
func (r *redis) cli(args ...string) string {
	r.t.Helper()
	out, err := exec.Command(r.path, append([]string{"-p", r.port, "-e"}, args...)...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// run runs a group until the test ends, which keeps what it was given.
func (r *redis) run(group string, handlers ...deed.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.bus.Run(ctx, deed.Subscribe(group, nil, handlers...)) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
}

// create makes the topic of the tests.
func (r *redis) create() {
	r.t.Helper()
	topics, _ := driver.As[driver.Topics](r.bus.Conn())
	if _, err := topics.CreateTopic(r.t.Context(), "orders", driver.TopicSettings{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *redis) lag(group string) (sum driver.PartitionLag) {
	r.t.Helper()
	groups, _ := driver.As[driver.Groups](r.bus.Conn())
	lags, err := groups.Lag(r.t.Context(), group, "orders")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, l := range lags {
		sum.Events += l.Events
		sum.Dead += l.Dead
	}
	return sum
}

func (r *redis) letters() []driver.Letter {
	r.t.Helper()
	admin, _ := driver.As[driver.Letters](r.bus.Conn())
	ls, err := admin.List(r.t.Context(), driver.LetterFilter{})
	if err != nil {
		r.t.Fatal(err)
	}
	return ls
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !cond() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// What another program adds with XADD is an event, whatever it leaves out.
func TestRedisForeignEntries(t *testing.T) {
	r := startRedis(t)
	r.create()
	const log = "deed:{orders:3}"
	bare := r.cli("XADD", log, "*", "d", `{"id":"a","n":1}`)
	r.cli("XADD", log, "*", "type", "orders.created", "source", "/legacy", "id", "7", "partitionkey", "c-1",
		"time", "2026-01-02T03:04:05Z", "subject", "orders/7", "region", "eu", "d", `{"id":"b","n":2}`)
	r.cli("XADD", log, "*", "m", `{"specversion":"1.0","type":"orders.created","source":"/legacy","id":"8",`+
		`"typeversion":1,"partitionkey":"c\u002d2","urgent":true}`, "d", `{"id":"c","n":3}`)
	var mu sync.Mutex
	got := make(map[string]deed.Event)
	handle := func(e deed.Event) error {
		mu.Lock()
		defer mu.Unlock()
		got[e.ID] = e
		return nil
	}
	r.run("g",
		deed.On(created, func(_ context.Context, e deed.Received[order]) error { return handle(e.Event) }),
		deed.OnAny(orders, func(_ context.Context, e deed.Received[[]byte]) error { return handle(e.Event) }))
	eventually(t, "all three are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == 3
	})
	for _, want := range []deed.Event{
		{ID: bare, Source: "/redis/orders", Type: "orders", Version: 1, Data: []byte(`{"id":"a","n":1}`)},
		{ID: "7", Source: "/legacy", Type: "orders.created", Version: 1, Key: "c-1", Subject: "orders/7",
			Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: []byte(`{"id":"b","n":2}`),
			Extensions: map[string]string{"region": "eu"}},
		{ID: "8", Source: "/legacy", Type: "orders.created", Version: 1, Key: "c-2", Data: []byte(`{"id":"c","n":3}`),
			Extensions: map[string]string{"urgent": "true"}},
	} {
		if have := fmt.Sprintf("%+v", got[want.ID]); have != fmt.Sprintf("%+v", want) {
			t.Errorf("event %s:\n%s, want\n%+v", want.ID, have, want)
		}
	}
}

// What cannot be read ends as a dead letter, with the reason and all that was there; and
// holds back nothing but its key.
func TestRedisUnreadableEntries(t *testing.T) {
	r := startRedis(t)
	r.create()
	const log = "deed:{orders:3}"
	for _, fields := range [][]string{
		{"m", "no JSON", "d", "1"},
		{"m", `["no object"]`, "d", "2"},
		{"m", `{"id":"x","type":"orders.created","partitionkey":"k","time":"yesterday"}`, "d", `{"id":"k","n":3}`},
		{"type", "orders.created", "typeversion", "two", "d", "4"},
		{"m", "{}\n{}", "l", "9,9", "d", "56"},
		{"m", `{"id":"y","type":"orders.created","partitionkey":"k"}`, "d", `{"id":"k","n":6}`},
		{"m", `{"id":"z","type":"orders.created"}`, "d", `{"id":"l","n":7}`},
	} {
		r.cli(append([]string{"XADD", log, "*"}, fields...)...)
	}
	handled := make(chan int, 10)
	r.run("g", deed.On(created, func(_ context.Context, e deed.Received[order]) error {
		handled <- e.Data.N
		return nil
	}))
	eventually(t, "there are five dead letters", func() bool { return r.lag("g").Dead == 5 })
	if n := next(t, handled); n != 7 {
		t.Errorf("event %d was handled (want 7, as 6 waits behind 3 of its key)", n)
	}
	reasons := []string{
		"its attributes are no JSON object: ", "its attributes are no JSON object: ",
		`its time is "yesterday" (want RFC 3339)`,
		`its typeversion is "two" (want a number)`, "its sizes (l) are not those of its data",
	}
	dead := slices.DeleteFunc(r.letters(), func(l driver.Letter) bool { return l.State != driver.Dead })
	// Those without a key fail at once, so their numbers are in no order.
	slices.SortFunc(dead, func(a, b driver.Letter) int { return cmp.Compare(a.Position, b.Position) })
	for i, l := range dead {
		if l.Reason != "undecodable" || !strings.HasPrefix(l.Error, reasons[i]) || l.Attributes["unreadable"] != l.Error {
			t.Errorf("letter %d: %s, %q, %v", i, l.Reason, l.Error, l.Attributes)
		}
	}
	if m := dead[0].Message; m.Attributes["m"] != "no JSON" || m.Type != "redis.unreadable" || string(m.Data) != "1" {
		t.Errorf("of the first is left: %+v", m)
	}
	if dead[2].Key != "k" || dead[2].Type != "orders.created" {
		t.Errorf("of the third is left: %+v", dead[2].Message)
	}

	// Given to the group once more it is as unreadable as before, and not lost.
	admin, _ := driver.As[driver.Letters](r.bus.Conn())
	if n, err := admin.Redrive(t.Context(), []int64{dead[0].ID}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "it is dead again", func() bool {
		return slices.ContainsFunc(r.letters(), func(l driver.Letter) bool {
			return l.ID == dead[0].ID && l.State == driver.Dead && l.Failed.After(dead[0].Failed)
		})
	})
	if n, err := admin.Discard(t.Context(), []int64{dead[2].ID}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n := next(t, handled); n != 6 {
		t.Errorf("event %d was handled (want 6, which waited)", n)
	}
}

// next returns what comes next, which has to come.
func next(t *testing.T, from <-chan int) int {
	t.Helper()
	select {
	case n := <-from:
		return n
	case <-time.After(time.Minute):
		t.Fatal("nothing was handled any more")
		return 0
	}
}

// The server's own view of a group is right as long as nobody deletes; deed's stays so.
func TestRedisNativeGroup(t *testing.T) {
	r := startRedis(t)
	gate := make(chan struct{})
	r.run("billing", deed.On(created, func(context.Context, deed.Received[order]) error {
		<-gate
		return nil
	}))
	for n := range 20 {
		if err := r.bus.Publish(t.Context(), created.New(order{"one", n})); err != nil {
			t.Fatal(err)
		}
	}
	var log string
	for p := range driver.DefaultPartitions {
		if key := fmt.Sprintf("deed:{orders:%d}", p); r.cli("EXISTS", key) == "1" {
			log = key
		}
	}
	if got := r.cli("XLEN", log); got != "20" {
		t.Fatalf("%s has %s entries", log, got)
	}
	native := func(lag string) func() bool {
		return func() bool {
			return slices.Contains(pairs(r.cli("XINFO", "GROUPS", log)), "lag="+lag)
		}
	}
	eventually(t, "both say 20", func() bool { return native("20")() && r.lag("billing").Events == 20 })
	if got := pairs(r.cli("XINFO", "GROUPS", log)); !slices.Contains(got, "name=billing") {
		t.Errorf("XINFO GROUPS shows %v", got)
	}
	entries := strings.Split(r.cli("XRANGE", log, "-", "+"), "\n") // id, m, attributes, d, data
	for _, i := range []int{3, 17} {
		r.cli("XDEL", log, entries[5*i])
	}
	eventually(t, "deed says 18", func() bool { return r.lag("billing").Events == 18 })
	if native("18")() || native("20")() {
		t.Error("the server's figure was expected to be unknown after XDEL")
	}
	close(gate)
	eventually(t, "both say 0", func() bool { return native("0")() && r.lag("billing").Events == 0 })
}

// pairs joins names and values that come on lines of their own.
func pairs(text string) (out []string) {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		out = append(out, lines[i]+"="+lines[i+1])
	}
	return out
}

// What deed writes can be read without it: m is JSON, d the data as it was published.
func TestRedisEntriesAreReadable(t *testing.T) {
	r := startRedis(t)
	d := created.New(order{"c-1", 5})
	d.ID, d.Subject, d.Time = "e1", "orders/c-1", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	receipt, err := r.bus.PublishReceipt(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.bus.Partition(t.Context(), orders, d.Event)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(r.cli("XRANGE", fmt.Sprintf("deed:{orders:%d}", p), "-", "+"), "\n")
	want := []string{got[0], "m", `{"id":"e1","source":"/shop","type":"orders.created","partitionkey":"c-1",` +
		`"time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","subject":"orders/c-1"}`,
		"d", `{"id":"c-1","n":5}`}
	if !slices.Equal(got, want) {
		t.Errorf("XRANGE prints %q, want %q", got, want)
	}
	if at := fmt.Sprintf("%d-%s", p, got[0]); !strings.Contains(fmt.Sprint(receipt), got[0]) {
		t.Errorf("the entry is at %s, the receipt says %v", at, receipt)
	}
}

// A bus that asks for more than the server keeps is told which setting to change.
func TestRedisDurabilityWish(t *testing.T) {
	s := redistest.Start(t, "appendonly yes", "appendfsync everysec")
	_, err := engine.Open(t.Context(), s.URL(), &deed.Options{Durability: deed.Power})
	for _, want := range []string{"redis keeps process", "appendfsync is everysec: set it to always"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v (want %q)", err, want)
		}
	}
	if _, err := s.Command("CONFIG", "SET", "appendfsync", "always"); err != nil {
		t.Fatal(err)
	}
	bus, err := engine.Open(t.Context(), s.URL(), &deed.Options{Durability: deed.Power})
	if err != nil {
		t.Fatal(err)
	}
	bus.Close()
}
