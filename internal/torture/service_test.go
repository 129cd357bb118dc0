package torture

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/internal/fault"
	"github.com/deedgo/deed/internal/redistest"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// lossTopic has no id window: what is stored once is so by the outbox's stamps.
var (
	lossTopic = deed.NewTopic("losses", &deed.TopicOptions{Partitions: 4})
	lossType  = deed.NewType(lossTopic, "losses.fact", 1, func(f Fact) string { return f.Key })
)

// service publishes through an outbox and consumes with an inbox, both in a database of
// its own, on a Redis server that it reaches through a proxy.
type service struct {
	t     *testing.T
	proxy *fault.Proxy
	db    *sqldb.DB
	box   *outbox.Outbox
	bus   *deed.Bus
	said  *journal
	last  map[string]int // events of each key
	ended chan error
	stop  context.CancelFunc
}

func newService(t *testing.T, s *redistest.Server) *service {
	t.Helper()
	proxy := fault.NewProxy(t, s.Addr())
	x := newServiceAt(t, "redis://"+proxy.Addr())
	x.proxy = proxy
	return x
}

// newServiceAt is newService without a proxy.
func newServiceAt(t *testing.T, url string) *service {
	t.Helper()
	x := &service{t: t, said: &journal{}, last: map[string]int{}, ended: make(chan error, 1)}
	sqlDB, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "service.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sqlDB.Close() })
	_, err = sqlDB.Exec("create table effects (seq integer primary key autoincrement, key text, kv integer)")
	if err != nil {
		t.Fatal(err)
	}
	x.db = sqldb.SQLite(sqlDB)
	x.box = outbox.New(x.db, "/service", nil)
	x.bus, err = engine.Open(t.Context(), url, &deed.Options{
		Source: "/service", Lease: time.Second, Drain: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(x.said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	group := deed.Subscribe("service", nil, inbox.On(x.db, lossType, effect))
	go func() { x.ended <- x.bus.Run(ctx, x.box, group) }()
	t.Cleanup(x.end)
	return x
}

func effect(ctx context.Context, tx *sql.Tx, e deed.Received[Fact]) error {
	_, err := tx.ExecContext(ctx, "insert into effects (key, kv) values (?, ?)", e.Data.Key, e.Data.KV)
	return err
}

// end stops the service, which has to be able to.
func (x *service) end() {
	x.stop()
	if err := <-x.ended; err != nil {
		x.t.Errorf("Run: %v", err)
	}
	if err := x.bus.Close(); err != nil {
		x.t.Errorf("Close: %v", err)
	}
	if x.t.Failed() {
		x.t.Logf("the service said:\n%s", x.said)
	}
}

// publish commits n more events of each key, each in a transaction of its own.
func (x *service) publish(n int) {
	x.t.Helper()
	for range n {
		err := x.db.Tx(x.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			for k := range 8 {
				key := fmt.Sprintf("k%d", k)
				x.last[key]++
				if err := x.box.Publish(ctx, tx, lossType.New(newFact(key, int64(x.last[key]), false))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			x.t.Fatal(err)
		}
	}
}

// total is how many events were published.
func (x *service) total() (n int) {
	for _, last := range x.last {
		n += last
	}
	return n
}

// settled waits until everything that was published has been sent and has had its effect.
func (x *service) settled() {
	x.t.Helper()
	eventually(x.t, "not everything was sent and had its effect", 2*time.Minute, func() bool {
		pending, err := x.box.Pending(x.t.Context())
		return err == nil && pending == 0 && len(x.effects()) >= x.total()
	})
}

// effects returns "key/kv" of all effects in order of commit.
func (x *service) effects() []string {
	x.t.Helper()
	rows, err := x.db.SQL().Query("select key, kv from effects order by seq")
	if err != nil {
		x.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var f Fact
		if err := rows.Scan(&f.Key, &f.KV); err != nil {
			x.t.Fatal(err)
		}
		all = append(all, f.id())
	}
	if err := rows.Err(); err != nil {
		x.t.Fatal(err)
	}
	return all
}

// stored returns how many events the partitions' streams hold.
func stored(t *testing.T, s *redistest.Server) (n int) {
	t.Helper()
	for p := range 4 {
		answer, err := s.Command("XLEN", fmt.Sprintf("deed:{losses:%d}", p))
		if err != nil {
			t.Fatal(err)
		}
		var length int
		fmt.Sscan(answer, &length)
		n += length
	}
	return n
}

// wantAll waits until every event is on the server once, in the order of its key.
func (x *service) wantAll() {
	x.t.Helper()
	var got map[string][]int64
	var failed error
	complete := func() bool {
		got, failed = map[string][]int64{}, nil
		for e, err := range x.bus.Read(x.t.Context(), lossTopic.Name(), nil) {
			if err != nil {
				failed = err
				return false
			}
			f, err := lossType.Decode(e.Event)
			if err != nil {
				x.t.Fatal(err)
			}
			got[f.Key] = append(got[f.Key], f.KV)
		}
		n := 0
		for _, kvs := range got {
			n += len(kvs)
		}
		return n >= x.total()
	}
	deadline := time.Now().Add(2 * time.Minute)
	for !complete() {
		if time.Now().After(deadline) {
			x.t.Fatalf("%v after the loss: %d keys are stored, %v", 2*time.Minute, len(got), failed)
		}
		pause(x.t.Context(), 50*time.Millisecond)
	}
	for key, last := range x.last {
		for i := range last {
			if i >= len(got[key]) || got[key][i] != int64(i+1) {
				x.t.Errorf("key %s is stored as %v, want 1 to %d in order", key, got[key], last)
				break
			}
		}
	}
}

// wantEffectsOnce checks that every event had one effect, in the order of its key.
func (x *service) wantEffectsOnce() {
	x.t.Helper()
	seen := map[string]int64{}
	for _, id := range x.effects() {
		key, text, _ := strings.Cut(id, "/")
		var kv int64
		fmt.Sscan(text, &kv)
		if kv != seen[key]+1 {
			x.t.Errorf("the effect of %s came after that of %s/%d", id, key, seen[key])
		}
		seen[key] = kv
	}
	for key, last := range x.last {
		if seen[key] != int64(last) {
			x.t.Errorf("key %s has effects to %d, want %d", key, seen[key], last)
		}
	}
}

// journal is a log that tests look into.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// wantNoGoroutines waits until nothing of the engine runs any more.
func wantNoGoroutines(t *testing.T) {
	t.Helper()
	const ours = "deed/engine/deedredis"
	var left []string
	deadline := time.Now().Add(time.Minute)
	for {
		all := make([]byte, 4<<20)
		left = slices.DeleteFunc(strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n"),
			func(stack string) bool { return !strings.Contains(stack, ours) })
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left:\n%s", len(left), cmp.Or(left...))
		}
		pause(context.Background(), 20*time.Millisecond)
	}
}
