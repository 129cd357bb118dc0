package deedsql

import (
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

const pgDenied = "42501"

// explanation is what a state of Postgres means. Hint says what to do.
type explanation struct {
	sentinel error
	who      scope
	hint     string
}

// postgresStates explains the states that have a code of their own; postgresClasses
// those of a class, the first two characters.
var (
	postgresStates = map[string]explanation{
		"40001":  {driver.ErrNotStored, noJob, "another transaction was in the way"},
		"40P01":  {driver.ErrNotStored, noJob, "another transaction was in the way"},
		"55P03":  {driver.ErrNotStored, noJob, "another transaction was in the way"},
		"53100":  {driver.ErrNotStored, allJobs, "the server's disk is full (free some space, then go on)"},
		"53200":  {driver.ErrNotStored, allJobs, "the server is out of memory"},
		"53300":  {driver.ErrAway, allJobs, "the server has no connection left (raise max_connections, or use a pooler)"},
		"57P01":  {driver.ErrAway, allJobs, "the server shuts down"},
		"57P02":  {driver.ErrAway, allJobs, "the server crashed"},
		"57P03":  {driver.ErrAway, allJobs, "the server is starting or shutting down"},
		"57P05":  {driver.ErrAway, allJobs, "the server ended an idle connection"},
		"25P03":  {driver.ErrAway, allJobs, "the process stood still within a transaction, which the server ended"},
		"57014":  {driver.ErrNotStored, allJobs, "the server canceled it (is a statement_timeout set?)"},
		"25006":  {driver.ErrNotStored, allJobs, "the database cannot be written (a standby? name the primary)"},
		"42P01":  {driver.ErrNotFound, allJobs, "a table of deed is missing (see deed migrations print)"},
		"3F000":  {driver.ErrNotFound, allJobs, "the schema is missing (see deed migrations print)"},
		"3D000":  {driver.ErrNotFound, allJobs, "create the database first"},
		pgDenied: {driver.ErrRefused, allJobs, "the role may not do that (see the guide for the rights that deed needs)"},
		"28P01":  {driver.ErrRefused, allJobs, "check user and password of the URL"},
		"28000":  {driver.ErrRefused, allJobs, "check user and host of the URL, and the server's pg_hba.conf"},
		"54000":  {driver.ErrRefused, oneJob, "too large for an index (are keys or ids over 2,000 bytes?)"},
		"22021":  {driver.ErrRefused, oneJob, "Postgres stores no zero byte in text"},
		"22P05":  {driver.ErrRefused, oneJob, "Postgres stores no such character in text"},
		"26000":  {driver.ErrNotStored, allJobs, pooledHint},
		"42P05":  {driver.ErrNotStored, allJobs, pooledHint},
		"08P01":  {driver.ErrNotStored, allJobs, pooledHint},
	}
	postgresClasses = map[string]explanation{
		"08": {driver.ErrAway, allJobs, "the connection failed"},
		"53": {driver.ErrNotStored, allJobs, "the server is at a limit of its own"},
		"58": {driver.ErrNotStored, allJobs, "the server's system failed"},
		"XX": {driver.ErrNotStored, allJobs, "the server is damaged or has a bug (see its log)"},
	}
)

const pooledHint = "a pooler lends connections for a transaction (say so: ?pooler=transaction)"

func (d *postgresDialect) explain(err error) (scope, error) {
	if err == nil || errors.Is(err, driver.ErrAway) {
		return allJobs, err
	}
	state := sqldb.PostgresState(err)
	e, ok := postgresStates[state]
	if !ok && len(state) == 5 {
		e, ok = postgresClasses[state[:2]]
	}
	switch {
	case ok:
		return e.who, fmt.Errorf("%w: %s: %s: %w", e.sentinel, d.where, e.hint, err)
	case state != "":
		return oneJob, fmt.Errorf("%s: %w", d.where, err)
	case lostConnection(err):
		return allJobs, fmt.Errorf("%w: %s: %w", driver.ErrAway, d.where, err)
	}
	return oneJob, err
}

// lostConnection reports whether an error is the network's, or the pool's about it.
func lostConnection(err error) bool {
	var n net.Error
	var c *pgconn.ConnectError
	return errors.As(err, &n) || errors.As(err, &c) || errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) || pgconn.Timeout(err) ||
		pgconn.SafeToRetry(err) // closed before it was used
}
