package deedsql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"strings"

	"github.com/deedgo/deed/driver"
)

// mysqlServer is what a server says of itself.
type mysqlServer struct {
	version    string
	flush      int    // innodb_flush_log_at_trx_commit
	method     string // innodb_flush_method
	binlog     bool   // log_bin
	syncBinlog int
	format     string // binlog_format
	packet     int    // max_allowed_packet
	clock      int64  // microseconds since 1970
}

// mysqlNow is the server's time in microseconds since 1970.
const mysqlNow = "CAST(unix_timestamp(now(6)) * 1000000 AS SIGNED)"

// askMySQL asks a server for its settings.
func askMySQL(ctx context.Context, db *sql.DB) (*mysqlServer, error) {
	s := &mysqlServer{}
	err := db.QueryRowContext(ctx, "SELECT version(), @@innodb_flush_log_at_trx_commit, @@innodb_flush_method, "+
		"@@log_bin, @@sync_binlog, @@binlog_format, @@max_allowed_packet, "+mysqlNow).
		Scan(&s.version, &s.flush, &s.method, &s.binlog, &s.syncBinlog, &s.format, &s.packet, &s.clock)
	return s, err
}

// examine asks the server for its settings and refuses those that deed cannot live with.
func (d *mysqlDialect) examine(ctx context.Context, c sqldriver.Connector) (mariaDB bool, err error) {
	db := sql.OpenDB(c)
	defer db.Close()
	s, err := askMySQL(ctx, db)
	if err != nil {
		return false, err
	}
	if err := s.refuse(); err != nil {
		return false, fmt.Errorf("%w: %s: %w", driver.ErrRefused, d.where, err)
	}
	d.clock.set(s.clock)
	d.promise = s.promise()
	return s.mariaDB(), nil
}

func (s *mysqlServer) mariaDB() bool { return strings.Contains(s.version, "MariaDB") }

// The oldest servers that have what deed needs: SKIP LOCKED, defaults of blobs, JSON_VALUE.
const (
	oldestMariaDB = 10_06_00
	oldestMySQL   = 8_00_21
)

func (s *mysqlServer) refuse() error {
	var major, minor, patch int
	if _, err := fmt.Sscanf(s.version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("cannot read its version, %q", s.version)
	}
	oldest, name := oldestMySQL, "MySQL 8.0.21"
	if s.mariaDB() {
		oldest, name = oldestMariaDB, "MariaDB 10.6"
	}
	if major*10000+minor*100+patch < oldest {
		return fmt.Errorf("its version is %s (want %s or newer)", s.version, name)
	}
	if s.binlog && s.format == "STATEMENT" {
		return fmt.Errorf("its binlog_format is STATEMENT, which cannot record READ COMMITTED (set it to MIXED or ROW)")
	}
	return nil
}

// promise says what events survive, by the server's settings.
func (s *mysqlServer) promise() driver.Features {
	f := MySQLPromise()
	// A statement is sent with its values in it, where a byte may take two.
	f.MaxEventBytes = max(s.packet/2-mysqlOverhead, 0)
	if f.MaxEventBytes > mysqlBytes {
		f.MaxEventBytes = mysqlBytes
	}
	synced := s.flush == 1 || s.flush == 3
	switch method := strings.ToLower(s.method); {
	case s.flush == 0:
		f.Durability = driver.Memory
		f.Setting = "innodb_flush_log_at_trx_commit is 0: set it to 1"
	case !synced:
		f.Durability = driver.Process
		f.Setting = fmt.Sprintf("innodb_flush_log_at_trx_commit is %d: set it to 1", s.flush)
	case method == "nosync" || method == "littlesync":
		f.Durability = driver.Process
		f.Setting = fmt.Sprintf("innodb_flush_method is %s: leave it out", s.method)
	case s.binlog && s.syncBinlog != 1:
		f.Durability = driver.Process
		f.Setting = fmt.Sprintf("sync_binlog is %d: set it to 1", s.syncBinlog)
	}
	return f
}

const (
	mysqlBytes    = 64 << 20 // largest data of an event
	mysqlOverhead = 64 << 10 // what else a statement with an event may hold
)

// MySQLPromise is what the engine promises on a server that is set up to keep the most.
func MySQLPromise() driver.Features {
	return driver.Features{
		Engine:     "mysql",
		Durability: driver.Power,
		Setting:    "MySQL promises nothing about replicas",
		KeyOrder:   true, Groups: true, Backlog: true, Fenced: true, DensePos: true,
		Sequence: true, Dedupe: true, SideLog: true,
		Lag: true, Browse: true, Delay: true, Reset: true, Retention: true, Streams: true, Records: true,
		MultiProcess:  true,
		MaxEventBytes: mysqlBytes,
	}
}
