package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// Options configure an Outbox. The zero value is the default.
type Options struct {
	// Keep is how long rows stay after they were sent, so that they can be sent
	// again when the engine lost them. Zero means 1 hour.
	Keep time.Duration
	// Batch is how many events go to the bus at once, per partition. Zero means 256.
	Batch int
	// MaxEventBytes bounds an event's data: Publish fails above it. Set it to the
	// bus's own Options.MaxEventBytes. Zero means 1 MiB, as there.
	MaxEventBytes int
	// Bus is the bus that Run will be given, where it is open by now. If it lives in the
	// outbox's own database, Publish puts events into it within the transaction, and they
	// are in order with those that are published directly. All that publish through the
	// database's outbox have to say so, or none.
	Bus *deed.Bus
}

func (o Options) withDefaults() Options {
	if o.Keep == 0 {
		o.Keep = time.Hour
	}
	if o.Batch == 0 {
		o.Batch = 256
	}
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = 1 << 20
	}
	return o
}

func (o Options) validate() error {
	if o.Keep < 0 || o.Batch < 1 || o.MaxEventBytes < 1 {
		return fmt.Errorf("outbox: Options %+v (want Keep ≥ 0, Batch ≥ 1, MaxEventBytes ≥ 1)", o)
	}
	return nil
}

// Outbox is a table of events in the service's own database, and the relay that
// moves them to a bus. It is a deed.Runner. Its methods are safe for concurrent use.
type Outbox struct {
	db     *sqldb.DB
	source string
	opts   Options

	mu     sync.Mutex
	setup  error         // why the tables are not usable, nil when they are
	intake driver.Intake // the bus, where it takes events within a transaction
}

var _ deed.Runner = (*Outbox)(nil)

// New returns the outbox of db, whose events have the given CloudEvents source
// unless they bring their own. It creates the tables if they are absent, since a
// transaction that publishes cannot. When that fails Publish and Run say why; Run
// tries again first.
func New(db *sqldb.DB, source string, opts *Options) *Outbox {
	if opts == nil {
		opts = &Options{}
	}
	o := &Outbox{db: db, source: source, opts: opts.withDefaults()}
	o.prepare(context.Background())
	return o
}

// prepare makes the tables usable and remembers whether they are.
func (o *Outbox) prepare(ctx context.Context) error {
	err := o.opts.validate()
	if err == nil {
		err = o.db.Check(ctx)
	}
	if err == nil {
		err = o.db.Migrate(ctx, component, migrations[o.db.Dialect()])
	}
	if err == nil {
		err = o.findIntake(ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setup = err
	return err
}

func (o *Outbox) usable() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.setup != nil {
		return fmt.Errorf("outbox: not usable since New: %w", o.setup)
	}
	return nil
}

const (
	insertRows = "insert into deed_outbox (topic, settings, event_type, event_key, event, data, not_before, changed) " +
		"values "
	insertRow = "(?, ?, ?, ?, ?, ?, ?, ?)"
	// insertMost is how many rows one statement inserts at most.
	insertMost = 100
)

// Publish writes drafts into the outbox as part of tx, a transaction of the
// outbox's database. They are announced after tx has committed, and never if it
// does not. A draft's NotBefore is kept by the outbox, whatever the engine can do.
// In a handler that sees an event again after a quiet reset nothing is announced.
// When Publish fails, roll back.
func (o *Outbox) Publish(ctx context.Context, tx sqldb.Execer, drafts ...deed.Draft) error {
	if err := o.usable(); err != nil {
		return err
	}
	if _, ok := tx.(*sql.DB); ok {
		return errors.New("outbox: publish: a *sql.DB is no transaction (give the *sql.Tx that your changes are in)")
	}
	if deed.Quiet(ctx) {
		return nil
	}
	if o.intakeNow() != nil {
		if o.db.Dialect() != sqldb.DialectSQLite {
			return o.publishIn(ctx, tx, drafts)
		}
		if done, err := o.publishFile(ctx, tx, drafts); done || err != nil {
			return err
		}
	}
	for some := range slices.Chunk(drafts, insertMost) {
		if err := o.insert(ctx, tx, some); err != nil {
			return err
		}
	}
	return nil
}

// insert writes up to insertMost drafts.
func (o *Outbox) insert(ctx context.Context, tx sqldb.Execer, drafts []deed.Draft) error {
	var all []any
	for i := range drafts {
		args, err := o.row(ctx, &drafts[i])
		if err != nil {
			return fmt.Errorf("outbox: publish %s: %w", drafts[i].Type, err)
		}
		all = append(all, args...)
	}
	query := insertRows + insertRow + strings.Repeat(", "+insertRow, len(drafts)-1)
	_, err := tx.ExecContext(ctx, o.db.Rebind(query), all...)
	if sqldb.IsNoTable(err) {
		err = fmt.Errorf("%w (is tx a transaction of the database that outbox.New was given?)", err)
	}
	if err != nil {
		return fmt.Errorf("outbox: publish %s: %w", drafts[0].Type, err)
	}
	return nil
}

// row returns the arguments of an insertRow.
func (o *Outbox) row(ctx context.Context, d *deed.Draft) ([]any, error) {
	topic := d.Topic()
	if topic == nil {
		return nil, errors.New("the draft has no topic (make it with Type.New or NewDraft)")
	}
	if err := deed.CheckName("topic", topic.Name()); err != nil {
		return nil, err
	}
	e, err := deed.Prepare(ctx, *d, o.source)
	if err != nil {
		return nil, err
	}
	if len(e.Data) > o.opts.MaxEventBytes {
		return nil, fmt.Errorf("event %s has %d bytes of data, more than %d (raise Options.MaxEventBytes here and on the "+
			"bus, or send a link)", e.ID, len(e.Data), o.opts.MaxEventBytes)
	}
	settings, err := json.Marshal(topic.Options())
	if err != nil {
		return nil, err
	}
	data := e.Data
	e.Data = nil
	attributes, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	var notBefore int64
	if !d.NotBefore.IsZero() {
		notBefore = d.NotBefore.UnixMilli()
	}
	return []any{topic.Name(), string(settings), e.Type, o.db.Dialect().Bytes(e.Key), string(attributes), data, notBefore,
		time.Now().UnixMilli()}, nil
}

// Pending counts the events that are not on the bus yet, refused ones apart:
// delayed events, and what the relay has not got to. A number that grows says that
// no relay runs or that the bus is away.
func (o *Outbox) Pending(ctx context.Context) (int, error) {
	return o.unsent(ctx, math.MaxInt64)
}

// Due is Pending without the delayed events whose time has not come: what a relay
// has to do now.
func (o *Outbox) Due(ctx context.Context) (int, error) {
	return o.unsent(ctx, time.Now().UnixMilli())
}

// unsent counts the events not sent that may be sent at the given time.
func (o *Outbox) unsent(ctx context.Context, at int64) (int, error) {
	if err := o.usable(); err != nil {
		return 0, err
	}
	var n int
	query := o.db.Rebind("select (select count(*) from deed_outbox where state = 'new' and not_before <= ?) + " +
		"(select count(*) from deed_outbox where state = 'stamped')")
	if err := o.db.SQL().QueryRowContext(ctx, query, at).Scan(&n); err != nil {
		return 0, fmt.Errorf("outbox: count pending events: %w", err)
	}
	if intake := o.intakeNow(); intake != nil {
		more, err := intake.Unsequenced(ctx)
		if err != nil {
			return 0, fmt.Errorf("outbox: count pending events: %w", err)
		}
		n += more
	}
	return n, nil
}
