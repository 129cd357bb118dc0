package drivertest_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/sqldb"
)

// jointLiar is an engine in a service's database that keeps its promises but for those
// calls that have a lie.
type jointLiar struct {
	*deedsql.Conn
	late *late

	hosts     func(bool) bool
	handled   func(es []driver.Handled, before []bool)
	asked     func(ctx context.Context, e *driver.Handled)
	publishIn func(ctx context.Context, tx driver.Execer, bs []driver.Batch) error
	sequence  func(context.Context) error
}

// late is what the members of one engine publish later than they should.
type late struct {
	mu      sync.Mutex
	batches []driver.Batch
	going   sync.WaitGroup
}

func (l *jointLiar) Hosts(ctx context.Context, db *sql.DB, dialect string) (bool, error) {
	same, err := l.Conn.Hosts(ctx, db, dialect)
	if l.hosts != nil {
		same = l.hosts(same)
	}
	return same, err
}

func (l *jointLiar) HandledIn(ctx context.Context, tx *sql.Tx, es []driver.Handled) ([]bool, error) {
	before, err := l.Conn.HandledIn(ctx, tx, l.changed(ctx, es))
	if err == nil && l.handled != nil {
		l.handled(es, before)
	}
	return before, err
}

func (l *jointLiar) SettleIn(ctx context.Context, tx *sql.Tx, es []driver.Handled) error {
	return l.Conn.SettleIn(ctx, tx, l.changed(ctx, es))
}

func (l *jointLiar) changed(ctx context.Context, es []driver.Handled) []driver.Handled {
	es = slices.Clone(es)
	for i := range es {
		if l.asked != nil {
			l.asked(ctx, &es[i])
		}
	}
	return es
}

func (l *jointLiar) PublishIn(ctx context.Context, tx driver.Execer, bs []driver.Batch) error {
	if l.publishIn != nil {
		return l.publishIn(ctx, tx, bs)
	}
	return l.Conn.PublishIn(ctx, tx, bs)
}

func (l *jointLiar) Sequence(ctx context.Context) (bool, error) {
	if l.sequence != nil {
		if err := l.sequence(ctx); err != nil {
			return false, err
		}
	}
	return l.Conn.Sequence(ctx)
}

// publishLate publishes what was kept for later.
func (l *jointLiar) publishLate(ctx context.Context) error {
	l.late.going.Wait()
	l.late.mu.Lock()
	defer l.late.mu.Unlock()
	_, err := l.Conn.Publish(ctx, l.late.batches)
	l.late.batches = nil
	return err
}

var jointLies = []struct {
	name, caughtBy string
	prepare        func(*jointLiar)
}{
	{"takes any database for its own", "joint-hosts", func(l *jointLiar) {
		l.hosts = func(bool) bool { return true }
	}},
	{"does not find its own database", "joint-hosts", func(l *jointLiar) {
		l.hosts = func(bool) bool { return false }
	}},
	{"forgets what was handled", "joint-settle joint-apart joint-replay", func(l *jointLiar) {
		l.handled = func(_ []driver.Handled, before []bool) { clear(before) }
	}},
	{"forgets what is in the side log", "joint-apart", func(l *jointLiar) {
		l.handled = func(es []driver.Handled, before []bool) {
			ls, err := l.List(context.Background(), driver.LetterFilter{Limit: 1000})
			for i, e := range es {
				parked := func(x driver.Letter) bool { return x.Topic == e.Claim.Topic && x.Position == e.Position }
				before[i] = before[i] && err == nil && !slices.ContainsFunc(ls, parked)
			}
		}
	}},
	{"takes a replay for what was handled", "joint-replay", func(l *jointLiar) {
		l.asked = func(_ context.Context, e *driver.Handled) { e.Run = 0 }
	}},
	{"does not look who owns a partition", "joint-fenced", func(l *jointLiar) {
		l.asked = func(ctx context.Context, e *driver.Handled) {
			lags, err := l.Lag(ctx, e.Claim.Group, e.Claim.Topic)
			for _, lag := range lags {
				if err == nil && lag.Partition == e.Claim.Partition {
					e.Claim.Epoch = lag.Epoch
				}
			}
		}
	}},
	{"publishes whatever becomes of the transaction", "intake-commit", func(l *jointLiar) {
		l.publishIn = func(_ context.Context, _ driver.Execer, bs []driver.Batch) error {
			bs = slices.Clone(bs)
			l.late.going.Go(func() {
				_, _ = l.Conn.Publish(context.Background(), bs) // waits for the transaction's lock
			})
			return nil
		}
		l.sequence = l.publishLate
	}},
	{"lets others overtake a transaction", "intake-before-publish", func(l *jointLiar) {
		l.publishIn = func(_ context.Context, _ driver.Execer, bs []driver.Batch) error {
			l.late.mu.Lock()
			defer l.late.mu.Unlock()
			l.late.batches = append(l.late.batches, bs...)
			return nil
		}
		l.sequence = l.publishLate
	}},
	{"sequences backwards", "intake-commit intake-before-publish intake-sequenced-once", func(l *jointLiar) {
		l.publishIn = func(ctx context.Context, tx driver.Execer, bs []driver.Batch) error {
			for i := range bs {
				bs[i].Messages = slices.Clone(bs[i].Messages)
				slices.Reverse(bs[i].Messages)
			}
			return l.Conn.PublishIn(ctx, tx, bs)
		}
	}},
	{"loses what it cannot publish in a transaction", "intake-absent-topic", func(l *jointLiar) {
		l.publishIn = func(ctx context.Context, tx driver.Execer, bs []driver.Batch) error {
			err := l.Conn.PublishIn(ctx, tx, bs)
			if errors.Is(err, driver.ErrNotFound) {
				err = nil
			}
			return err
		}
	}},
}

// jointOnes are the checks of a service's database.
func jointOnes() []drivertest.Check {
	return slices.DeleteFunc(drivertest.Checks(), func(c drivertest.Check) bool { return !c.Joint })
}

// runJoint runs some of them on SQLite.
func runJoint(t *testing.T, checks []drivertest.Check, prepare func(*jointLiar)) map[string]drivertest.Result {
	t.Helper()
	file, shared := filepath.Join(t.TempDir(), "service.db"), &late{}
	raw, err := sqldb.OpenSQLite(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sqldb.SQLite(raw)
	defer raw.Close()
	defer db.Close()
	h := drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) {
			c, err := deedsql.Open(ctx, "sqlite:"+file, nil)
			if err != nil {
				return nil, err
			}
			l := &jointLiar{Conn: c, late: shared}
			prepare(l)
			return l, nil
		},
		Database: &drivertest.Database{SQL: raw, Dialect: string(db.Dialect()), Tx: db.Tx},
	}
	results := make(map[string]drivertest.Result)
	for _, r := range drivertest.Run(t.Context(), h, checks, nil) {
		results[r.Check.Name] = r
	}
	return results
}

func TestLiesOfEnginesInADatabaseAreCaught(t *testing.T) {
	for _, lie := range jointLies {
		t.Run(lie.name, func(t *testing.T) {
			t.Parallel()
			for name, r := range runJoint(t, named(t, lie.caughtBy), lie.prepare) {
				if r.Status != drivertest.Failed {
					t.Errorf("an engine that %s %s %s", lie.name, r.Status, name)
				}
			}
		})
	}
}

func TestHonestyInADatabaseIsNotPunished(t *testing.T) {
	results := runJoint(t, jointOnes(), func(*jointLiar) {})
	for _, c := range jointOnes() {
		if r := results[c.Name]; r.Status != drivertest.Passed {
			t.Errorf("%s: %s: %s", c.Name, r.Status, r.Detail)
		}
	}
}
