package deedsql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// mysqlDialect is one database of a MySQL or MariaDB server.
type mysqlDialect struct {
	where string // host and database, for messages
	db    *sql.DB
	said  translations
	clock clock

	promise driver.Features
	ids     map[string]int64 // of topics that were locked before; the writer's own
}

// mysqlConnector sets up each connection.
type mysqlConnector struct {
	sqldriver.Connector
	setup []string
}

// Connect implements [sqldriver.Connector].
func (c mysqlConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, statement := range c.setup {
		if _, err := conn.(sqldriver.ExecerContext).ExecContext(ctx, statement, nil); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// setupMySQL returns what each connection begins with. Under READ COMMITTED a statement
// sees what was committed before it, and no gap between rows is locked. A process that is
// stopped within a transaction holds up the others no longer than MariaDB allows here;
// MySQL has no such bound.
func setupMySQL(mariaDB, readOnly bool) []string {
	access := "READ WRITE"
	if readOnly {
		access = "READ ONLY"
	}
	setup := []string{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, " + access}
	if mariaDB {
		setup = append(setup, fmt.Sprintf("SET SESSION idle_transaction_timeout = %d", mysqlStall))
	}
	return setup
}

const (
	mysqlStall    = 5               // seconds that a transaction may do nothing
	mysqlIdle     = 8               // connections that are kept
	mysqlIdleTime = 5 * time.Minute // for so long, below the servers' own limits
)

// openMySQL connects, finds out what the server promises and makes the tables, if it
// may.
func openMySQL(ctx context.Context, url string, opts *Options) (*mysqlDialect, error) {
	s, err := parseMySQL(url)
	if err != nil {
		return nil, fmt.Errorf("deedsql: %w", err)
	}
	d := &mysqlDialect{where: s.config.Addr + "/" + s.config.DBName, ids: make(map[string]int64)}
	if err := d.open(ctx, s, opts); err != nil {
		if d.db != nil {
			d.db.Close()
		}
		_, explained := d.explain(err)
		return nil, fmt.Errorf("deedsql: open: %w", explained)
	}
	return d, nil
}

func (d *mysqlDialect) open(ctx context.Context, s mysqlSettings, opts *Options) error {
	connector, err := mysql.NewConnector(s.config)
	if err != nil {
		return fmt.Errorf("%w: url: %w", driver.ErrRefused, err)
	}
	mariaDB, err := d.examine(ctx, connector)
	if err != nil {
		return err
	}
	d.db = sql.OpenDB(mysqlConnector{connector, setupMySQL(mariaDB, opts.ReadOnly)})
	d.db.SetMaxIdleConns(mysqlIdle)
	d.db.SetConnMaxIdleTime(mysqlIdleTime)
	d.db.SetMaxOpenConns(s.conns)
	if s.ddl && !opts.NoCreate && !opts.ReadOnly {
		err := sqldb.MySQL(d.db).Migrate(ctx, component, mysqlMigrations)
		if mysqlDenied(err) {
			err = fmt.Errorf("%w (who may make tables runs: %s)", err, mysqlCommand)
		}
		return err
	}
	err = d.checkTables(ctx)
	if errors.Is(err, errNoTables) && s.ddl {
		err = fmt.Errorf("%w: %w", os.ErrNotExist, err) // what may be made as soon as there is a need
	}
	return err
}

// mysqlCommand makes the tables by hand.
const mysqlCommand = "deed migrations print mysql://… | mysql …"

// checkTables refuses tables that are missing or of another version.
func (d *mysqlDialect) checkTables(ctx context.Context) error {
	v, err := sqldb.MySQL(d.db).Version(ctx, component)
	switch want := len(mysqlMigrations); {
	case sqldb.IsNoTable(err) || err == nil && v == 0:
		return fmt.Errorf("%s: %w (make them: %s)", d.where, errNoTables, mysqlCommand)
	case err != nil:
		return err
	case v < want:
		return fmt.Errorf("the tables have version %d, this program needs %d (bring them up to date: %s)",
			v, want, mysqlCommand)
	case v > want:
		return fmt.Errorf("the tables have version %d, this program knows up to %d (run a newer program)", v, want)
	}
	return nil
}

// sql implements [dialect].
func (d *mysqlDialect) sql(query string) string { return d.said.get(query) }

// prepares implements [dialect]: a statement goes with its values in one round trip.
func (d *mysqlDialect) prepares() bool { return false }

// shared implements [dialect].
func (d *mysqlDialect) shared() bool { return true }

// lends implements [dialect].
func (d *mysqlDialect) lends() bool { return true }

// limits implements [dialect].
func (d *mysqlDialect) limits() limits {
	return limits{data: d.promise.MaxEventBytes, key: 2000, name: 1000} // as the columns
}

// tables implements [dialect].
func (d *mysqlDialect) updateClaim(t *tx, _ claimKey, query string, args ...any) (int64, error) {
	return t.exec(query, args...)
}

func (d *mysqlDialect) lanes() int { return 1 }

func (d *mysqlDialect) tables() tables {
	return mysqlTables{room: min(d.promise.MaxEventBytes, mysqlStatement)}
}

// mysqlStatement is how many bytes one statement inserts, but for an event that is larger
// itself.
const mysqlStatement = 1 << 20

// features implements [dialect].
func (d *mysqlDialect) features() driver.Features { return d.promise }

// now implements [dialect].
func (d *mysqlDialect) now() time.Time { return d.clock.now() }

// commit implements [dialect].
func (d *mysqlDialect) commit(s *session) error {
	_, err := s.exec("COMMIT")
	return err
}

// close implements [dialect].
func (d *mysqlDialect) close() error { return d.db.Close() }

// clock is the server's, as of the last time that it said it.
type clock struct {
	mu   sync.Mutex
	said time.Time
	at   time.Time // this machine's, which tells how long that is ago
}

// set takes the server's time, which has just come in, in microseconds since 1970.
func (c *clock) set(micros int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.at = time.UnixMicro(micros), time.Now()
	return c.said
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.Add(time.Since(c.at))
}
