package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/deedgo/deed/driver"
)

// examineMySQL is Examine for MySQL and MariaDB.
func examineMySQL(ctx context.Context, url string) ([]driver.Finding, error) {
	s, err := parseMySQL(url)
	if err != nil {
		return nil, fmt.Errorf("deedsql: examine: %w", err)
	}
	d := &mysqlDialect{where: s.config.Addr + "/" + s.config.DBName}
	x, err := d.findings(ctx, s)
	if err != nil {
		_, explained := d.explain(err)
		return nil, fmt.Errorf("deedsql: examine: %w", explained)
	}
	return x, nil
}

func (d *mysqlDialect) findings(ctx context.Context, s mysqlSettings) (x []driver.Finding, err error) {
	connector, err := mysql.NewConnector(s.config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	server, err := askMySQL(ctx, db)
	if err != nil {
		return nil, err
	}
	x = append(x, driver.Finding{Result: driver.Good, What: "server", Value: server.version})
	if err := server.refuse(); err != nil {
		x[0].Result, x[0].Advice = driver.Wrong, err.Error()
	}
	var readOnly bool
	if err := db.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly); err != nil {
		return nil, err
	}
	if readOnly {
		x = append(x, driver.Finding{Result: driver.Wrong, What: "read_only", Value: "on",
			Advice: "nothing can be stored here; name the server that may be written"})
	}
	x = append(x, server.durable())
	if server.packet < mysqlGoodPacket {
		x = append(x, driver.Finding{Result: driver.Noted, What: "max_allowed_packet", Value: fmt.Sprint(server.packet),
			Advice: fmt.Sprintf("events may have up to %d bytes; raise it for larger ones", server.promise().MaxEventBytes)})
	}
	oldest, err := mysqlOldest(ctx, db)
	return append(x, oldest), err
}

// mysqlGoodPacket has room for events of 1 MiB and then some.
const mysqlGoodPacket = 4 << 20

// durable tells what accepted events survive.
func (s *mysqlServer) durable() driver.Finding {
	p := s.promise()
	f := driver.Finding{Result: driver.Good, What: "durability", Value: p.Durability.String()}
	if p.Durability < driver.Power {
		f.Result, f.Advice = driver.Noted, p.Setting
	}
	return f
}

// mysqlOldest tells of the oldest transaction, by which others may wait. Without the
// right PROCESS it is not told.
func mysqlOldest(ctx context.Context, db *sql.DB) (driver.Finding, error) {
	f := driver.Finding{Result: driver.Good, What: "oldest transaction", Value: "none"}
	var thread, locked int64
	var seconds float64
	err := db.QueryRowContext(ctx, "SELECT trx_mysql_thread_id, trx_rows_locked, "+
		"timestampdiff(microsecond, trx_started, now(6)) / 1e6 FROM information_schema.innodb_trx "+
		"ORDER BY trx_started LIMIT 1").Scan(&thread, &locked, &seconds)
	var denied *mysql.MySQLError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return f, nil
	case errors.As(err, &denied) && denied.Number == errSpecificAccess:
		f.Result, f.Value, f.Advice = driver.Noted, "not known", "GRANT PROCESS to see who holds up writers"
		return f, nil
	case err != nil:
		return f, err
	}
	f.Value = fmt.Sprintf("%v, of connection %d, with %d rows locked", roundSeconds(seconds), thread, locked)
	if seconds > mysqlStall {
		f.Result, f.Advice = driver.Noted, fmt.Sprintf("let it end, or end it: KILL %d", thread)
	}
	return f, nil
}
