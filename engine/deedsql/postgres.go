package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/sqldb"
)

const (
	postgresConns = 16          // at most, of a Conn, beside the one that listens
	postgresIdle  = time.Minute // after which a connection is given back
	// postgresLanes are two, so that the server works on one transaction while the other
	// one's commit is on its way to the disk.
	postgresLanes = 2
	// postgresStall is how long a transaction may do nothing before the server ends it: a
	// process that is stopped within one holds up the others for no longer.
	postgresStall   = 5 * time.Second
	postgresConnect = 10 * time.Second // that a connection may take
	postgresOldest  = 130000           // as server_version_num
)

// postgresDialect is one Postgres database.
type postgresDialect struct {
	where   string // host and database, for messages
	schema  string
	channel string // that commits are told on
	me      string // tells this connection's own notifications
	config  *pgx.ConnConfig
	pooler  bool
	db      *sql.DB
	rows    *rowTables
	claims  claimRows
	texts   sync.Map // queries as the database has them, by ours
	offset  atomic.Int64
	looks   time.Duration // how often it looks for commits beside being told
	served  driver.Features

	tell    driverkit.Signal // something was committed
	closing context.CancelFunc
	telling sync.WaitGroup
}

// postgresURL is what a URL says of deed, with the rest for pgx.
type postgresURL struct {
	config *pgx.ConnConfig
	schema string
	pooler bool
	ddl    bool
}

// parsePostgres reads a URL. Its errors do not repeat it, for it may hold a password.
func parsePostgres(text string) (p postgresURL, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return p, errors.New("deedsql: the URL cannot be read (want postgres://user:password@host:5432/database)")
	}
	q := u.Query()
	p.ddl = true
	for name, values := range q {
		switch value := values[len(values)-1]; name {
		case "schema":
			p.schema = value
			if value == "" {
				err = errors.New("deedsql: schema= names no schema")
			}
		case "pooler":
			p.pooler = value == "transaction"
			if !p.pooler && value != "session" && value != "none" {
				err = fmt.Errorf("deedsql: pooler=%s (want transaction, session or none)", value)
			}
		case "ddl":
			p.ddl = value != "off"
			if value != "off" && value != "on" {
				err = fmt.Errorf("deedsql: ddl=%s (want on or off)", value)
			}
		default:
			continue
		}
		if err != nil {
			return p, err
		}
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	if p.config, err = pgx.ParseConfig(u.String()); err != nil {
		return p, fmt.Errorf("deedsql: %w", err)
	}
	if p.config.RuntimeParams["application_name"] == "" {
		p.config.RuntimeParams["application_name"] = "deed"
	}
	if p.config.ConnectTimeout == 0 {
		p.config.ConnectTimeout = postgresConnect
	}
	if p.pooler { // the next statement may go to another server process, which has not prepared it
		p.config.DefaultQueryExecMode = pgx.QueryExecModeExec
		p.config.StatementCacheCapacity, p.config.DescriptionCacheCapacity = 0, 0
	} else {
		stall := fmt.Sprint(postgresStall.Milliseconds())
		p.config.RuntimeParams["idle_in_transaction_session_timeout"] = stall
	}
	return p, nil
}

// openPostgres connects and checks that the server keeps what Features promises.
func openPostgres(ctx context.Context, text string, opts *Options) (*postgresDialect, error) {
	p, err := parsePostgres(text)
	if err != nil {
		return nil, err
	}
	d := &postgresDialect{
		where: fmt.Sprintf("%s:%d/%s", p.config.Host, p.config.Port, p.config.Database), schema: p.schema, pooler: p.pooler,
		config: p.config, me: driverkit.MemberName(), rows: newRowTables(),
		looks: postgresLook,
	}
	d.db = stdlib.OpenDB(*p.config)
	d.db.SetMaxOpenConns(postgresConns)
	d.db.SetMaxIdleConns(postgresConns)
	d.db.SetConnMaxIdleTime(postgresIdle)
	err = d.prepare(ctx, p.ddl && !opts.NoCreate && !opts.ReadOnly)
	if errors.Is(err, errNoTables) && p.ddl {
		err = fmt.Errorf("%w: %w", os.ErrNotExist, err) // what may be made as soon as there is a need
	}
	if err != nil {
		d.db.Close()
		_, explained := d.explain(err)
		return nil, fmt.Errorf("deedsql: open %s: %w", d.where, explained)
	}
	d.channel = fmt.Sprintf("deed_%x", uint64(d.lockNumber("channel")))
	ctx, d.closing = context.WithCancel(context.Background())
	d.telling.Go(func() { d.teller(ctx) })
	return d, nil
}

// prepare looks at the server and brings the tables up to date, or checks that they are.
func (d *postgresDialect) prepare(ctx context.Context, ddl bool) error {
	if err := d.examine(ctx); err != nil {
		return err
	}
	err := d.findSchema(ctx, ddl)
	if err == nil && ddl {
		err = sqldb.PostgresIn(d.db, d.schema).Migrate(ctx, component, postgresMigrations)
	}
	if sqldb.PostgresState(err) == pgDenied {
		err = fmt.Errorf("%w (who may make tables runs: %s)", err, d.command())
	}
	if err != nil || ddl {
		return err
	}
	return d.checkTables(ctx)
}

var errNoTables = fmt.Errorf("%w: the database has no tables of deed", driver.ErrNotFound)

// checkTables refuses tables that are missing or of another version.
func (d *postgresDialect) checkTables(ctx context.Context) error {
	v, err := sqldb.PostgresIn(d.db, d.schema).Version(ctx, component)
	switch {
	case sqldb.IsNoTable(err) || err == nil && v == 0:
		return fmt.Errorf("%w in schema %s (make them: %s)", errNoTables, d.schema, d.command())
	case err != nil:
		return err
	case v < len(postgresMigrations):
		return fmt.Errorf("the tables in schema %s have version %d, this program needs %d (bring them up to date: %s)",
			d.schema, v, len(postgresMigrations), d.command())
	case v > len(postgresMigrations):
		return fmt.Errorf("the tables have version %d, this program knows up to %d (run a newer program)",
			v, len(postgresMigrations))
	}
	return nil
}

// command makes the tables by hand.
func (d *postgresDialect) command() string {
	return fmt.Sprintf("deed migrations print 'postgres://…?schema=%s' | psql …", d.schema)
}

// findSchema finds out where the tables are, or go, when the URL does not say.
func (d *postgresDialect) findSchema(ctx context.Context, ddl bool) error {
	if d.schema != "" && ddl {
		return d.makeSchema(ctx)
	}
	if d.schema != "" {
		return nil
	}
	var schema sql.NullString
	err := d.db.QueryRowContext(ctx, "SELECT coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n "+
		"ON n.oid = c.relnamespace WHERE c.oid = to_regclass('deed_schema')), current_schema())::text").Scan(&schema)
	if err == nil && !schema.Valid {
		err = errors.New("the search_path of the connection names no schema (say which: ?schema=deed)")
	}
	d.schema = schema.String
	return err
}

// makeSchema makes the schema of the URL, unless it is there, which takes no right. Of
// processes that start together one does, since IF NOT EXISTS alone lets both try.
func (d *postgresDialect) makeSchema(ctx context.Context) error {
	var there bool
	name := sqldb.QuoteName(d.schema)
	err := d.db.QueryRowContext(ctx, "SELECT to_regnamespace($1) IS NOT NULL", name).Scan(&there)
	if err != nil || there {
		return err
	}
	return sqldb.Postgres(d.db).Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", d.lockNumber("schema")); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+name)
		return err
	})
}

// examine reads what the server is set up to keep.
func (d *postgresDialect) examine(ctx context.Context) error {
	var version int
	var fsync, commit, pages string
	err := d.db.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int, current_setting('fsync'), "+
		"current_setting('synchronous_commit'), current_setting('full_page_writes')").Scan(&version, &fsync, &commit, &pages)
	if err != nil {
		return err
	}
	if version < postgresOldest {
		return fmt.Errorf("%w: the server has version %d, deed needs Postgres 13", driver.ErrRefused, version/10000)
	}
	d.served = PostgresPromise()
	if pages == "off" { // the weakest comes last
		d.served.Durability, d.served.Setting = driver.Process, "full_page_writes = on"
	}
	if fsync == "off" {
		d.served.Durability, d.served.Setting = driver.Process, "fsync = on"
	}
	if commit == "off" {
		d.served.Durability, d.served.Setting = driver.Memory, "synchronous_commit = on"
	}
	return nil
}

// PostgresPromise is what the engine promises on a server that is set up to keep the
// most.
func PostgresPromise() driver.Features {
	return driver.Features{
		Engine: "postgres", Durability: driver.Power,
		KeyOrder: true, Groups: true, Backlog: true, Fenced: true, DensePos: true,
		Sequence: true, Dedupe: true, SideLog: true,
		Lag: true, Browse: true, Delay: true, Reset: true, Retention: true, Streams: true, Records: true,
		MultiProcess:  true,
		MaxEventBytes: maxData,
		Flights:       postgresLanes, // while the server commits one, it gets the other
	}
}

func (d *postgresDialect) features() driver.Features { return d.served }

// sql numbers the placeholders and says which schema a table is in.
func (d *postgresDialect) sql(query string) string {
	if text, ok := d.texts.Load(query); ok {
		return text.(string)
	}
	text := sqldb.Qualify(query, d.schema)
	if strings.HasPrefix(query, selectLetters) {
		return text // there are too many combinations to keep
	}
	d.texts.Store(query, text)
	return text
}

// prepares is not so: pgx does.
func (d *postgresDialect) lends() bool { return false }

func (d *postgresDialect) limits() limits {
	return limits{data: maxData, key: 2000, name: 1200, zero: true}
}

func (d *postgresDialect) prepares() bool { return false }

func (d *postgresDialect) shared() bool { return true }

func (d *postgresDialect) lanes() int { return postgresLanes }

func (d *postgresDialect) tables() tables { return d.rows }

// now is the server's clock, as of the last time that it told.
func (d *postgresDialect) now() time.Time { return time.Now().Add(time.Duration(d.offset.Load())) }

// told takes the server's time, in nanoseconds, that an answer brought. It is behind by
// the answer's way: a lease seems to last that much longer.
func (d *postgresDialect) told(nanos int64) {
	d.offset.Store(nanos - time.Now().UnixNano())
}

func (d *postgresDialect) close() error {
	d.closing()
	d.telling.Wait()
	return d.db.Close()
}
