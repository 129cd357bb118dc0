package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

type parcel struct {
	Key string
	N   int
}

var (
	parcels = deed.NewTopic("parcels", &deed.TopicOptions{Partitions: 4})
	sent    = deed.NewType(parcels, "parcels.sent", 1, func(p parcel) string { return p.Key })
)

// openTx begins a transaction that the server does not end and tells its process.
func openTx(t *testing.T, c *Conn, level sql.IsolationLevel) (tx *sql.Tx, pid int64) {
	t.Helper()
	pidOf, patience := "SELECT pg_backend_pid()", "SET SESSION idle_in_transaction_session_timeout = 0"
	if _, mysql := c.dialect.(*mysqlDialect); mysql {
		pidOf, patience = "SELECT connection_id()", "SET SESSION idle_transaction_timeout = 0"
	}
	conn, err := c.db.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), patience)
	}
	if err == nil {
		tx, err = conn.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
	}
	if err == nil {
		err = tx.QueryRow(pidOf).Scan(&pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tx.Rollback() //nolint:errcheck // it may have ended
		conn.Close()
	})
	return tx, pid
}

// holdPartition takes a partition's lock as a publisher that froze would have it.
func holdPartition(t *testing.T, c *Conn, tx *sql.Tx, topic string, partition int) {
	t.Helper()
	query, args := "SELECT position FROM deed_head WHERE topic_id = (SELECT id FROM deed_topic WHERE name = ?) "+
		"AND `partition` = ? FOR UPDATE", []any{topic, partition}
	if d, ok := c.dialect.(*postgresDialect); ok {
		query, args = "SELECT pg_advisory_xact_lock($1)", []any{d.number(partitionLock(topic, partition))}
	}
	var got any
	if err := tx.QueryRow(query, args...).Scan(&got); err != nil {
		t.Fatal(err)
	}
}

// handledKeys remembers which keys a group has handled.
type handledKeys struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (h *handledKeys) handle(_ context.Context, e deed.Received[parcel]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[e.Data.Key] = true
	return nil
}

func (h *handledKeys) all(keys ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(keys, func(k string) bool { return !h.seen[k] })
}

// TestBlockersAreNamed leaves transactions open for the whole test: one with a snapshot,
// one that has published by way of the outbox, and one that has a partition's lock. All
// other events are handled, and the metric names what is held back, and by whom.
func TestBlockersAreNamed(t *testing.T) {
	onKilled(t, func(t *testing.T, _ server, url string) { // where nobody else has transactions
		c := openURL(t, url)
		topicOf(t, c, parcels.Name(), driver.TopicSettings{Partitions: 4})
		bus, err := deed.New(c, &deed.Options{Source: "/test"})
		if err != nil {
			t.Fatal(err)
		}
		db := sqldb.Postgres(c.db)
		if _, mysql := c.dialect.(*mysqlDialect); mysql {
			db = sqldb.MySQL(c.db)
		}
		box := outbox.New(db, "/test", nil)

		snapshot, snapshotPID := openTx(t, c, sql.LevelRepeatableRead)
		var n int
		if err := snapshot.QueryRow("SELECT count(*) FROM deed_topic").Scan(&n); err != nil {
			t.Fatal(err)
		}
		var got []sqldb.Blocker
		blockers := func() []sqldb.Blocker {
			<-time.After(200 * time.Millisecond) // MariaDB repeats its answer to who asks more often than every 100 ms
			if got, err = c.Blockers(t.Context()); err != nil {
				t.Fatal(err)
			}
			return got
		}
		until(t, "the oldest transaction", func() bool { // MySQL counts in seconds
			return named(blockers(), map[sqldb.Blocked]sqldb.Blocker{sqldb.BlockedVacuum: {PID: snapshotPID}})
		})
		publisher, publisherPID := openTx(t, c, sql.LevelReadCommitted)
		if err := box.Publish(t.Context(), publisher, sent.New(parcel{Key: "uncommitted"})); err != nil {
			t.Fatal(err)
		}
		holder, holderPID := openTx(t, c, sql.LevelReadCommitted)
		holdPartition(t, c, holder, parcels.Name(), 2)
		blocked := make(chan error, 1)
		other := openURL(t, url) // a process of its own: its publishing stands still as a whole
		go func() {
			b := events(parcels.Name(), 1, 1)
			b[0].Partition = 2
			_, err := other.Publish(context.WithoutCancel(t.Context()), b)
			blocked <- err
		}()

		handled := &handledKeys{seen: map[string]bool{}}
		defer runGroup(t, bus, box, handled)()
		keys := keysBeside(2, 30)
		publishBothWays(t, bus, db, box, keys)
		until(t, "all other events", func() bool { return handled.all(keys...) })

		want := map[sqldb.Blocked]sqldb.Blocker{
			sqldb.BlockedVacuum:  {PID: snapshotPID},
			sqldb.BlockedOutbox:  {PID: publisherPID},
			sqldb.BlockedPublish: {PID: holderPID, Topic: parcels.Name(), Partition: 2, Waiting: 1},
		}
		until(t, "blockers that name all three", func() bool { return named(blockers(), want) })
		for _, b := range got {
			if b.Age < 1e9 || b.State != "idle in transaction" || b.Name == "" {
				t.Errorf("%+v", b)
			}
		}
		mine, err := box.Blockers(t.Context())
		if err != nil || len(mine) != 1 || mine[0].PID != publisherPID || mine[0].What != sqldb.BlockedOutbox {
			t.Errorf("the outbox names %+v, %v; want process %d", mine, err, publisherPID)
		}

		if err := errors.Join(snapshot.Rollback(), publisher.Commit(), holder.Rollback(), <-blocked); err != nil {
			t.Fatal(err)
		}
		until(t, "the events that were held back", func() bool { return handled.all("uncommitted") })
		until(t, "no blockers", func() bool { return len(blockers()) == 0 })
	})
}

// runGroup handles the topic and relays the outbox, until it is told to stop.
func runGroup(t *testing.T, bus *deed.Bus, box *outbox.Outbox, handled *handledKeys) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- bus.Run(ctx, box, deed.Subscribe("group", nil, deed.On(sent, handled.handle))) }()
	return func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
}

// publishBothWays publishes an event of each key, every other one through the outbox.
func publishBothWays(t *testing.T, bus *deed.Bus, db *sqldb.DB, box *outbox.Outbox, keys []string) {
	t.Helper()
	for i, key := range keys {
		d := sent.New(parcel{Key: key})
		var err error
		if i%2 == 0 {
			err = bus.Publish(t.Context(), d)
		} else {
			err = db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return box.Publish(ctx, tx, d) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// named reports whether all are as wanted, and no more are there.
func named(got []sqldb.Blocker, want map[sqldb.Blocked]sqldb.Blocker) bool {
	for _, b := range got {
		w := want[b.What]
		if b.PID != w.PID || b.Topic != w.Topic || b.Partition != w.Partition || b.Waiting != w.Waiting {
			return false
		}
	}
	return len(got) == len(want)
}

// keysBeside returns keys of all partitions but one.
func keysBeside(partition, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprint("key-", i); driver.PartitionOf(key, 4) != partition {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestBlockersOfAFile tells that there is no server to ask.
func TestBlockersOfAFile(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir()+"/deed.db")
	if _, err := c.Blockers(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("blockers of a file: %v", err)
	}
}
