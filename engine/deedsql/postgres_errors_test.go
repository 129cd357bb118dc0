package deedsql

import (
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
)

// TestPostgresRefusals opens what cannot be opened: the error says why, and what to do,
// and not the password.
func TestPostgresRefusals(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "max_connections = 6", "superuser_reserved_connections = 3")
	url := server.URL(server.Database(t))
	user := strings.Replace(url, "postgres@", "clerk:secret@", 1)
	if _, err := server.Ask("postgres", "CREATE ROLE clerk LOGIN"); err != nil {
		t.Fatal(err)
	}
	crowd := openURL(t, url+"&schema=crowd")
	for range 3 {
		conn, err := crowd.db.Conn(t.Context())
		if err == nil {
			err = conn.PingContext(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for what, c := range map[string]struct {
		url      string
		sentinel error
		says     string
	}{
		"no server":   {strings.Replace(user, server.Addr(), "127.0.0.1:1", 1), driver.ErrAway, "127.0.0.1:1/"},
		"no database": {strings.Replace(url, "/test", "/nosuch", 1), driver.ErrNotFound, "create the database"},
		"no room":     {user, driver.ErrAway, "max_connections"},
		"a mistyped option": {
			url + "&pooler=transactional", nil, "want transaction, session or none"},
		"ddl":            {url + "&ddl=never", nil, "want on or off"},
		"an empty name":  {url + "&schema=", nil, "names no schema"},
		"a bad URL":      {"postgres://clerk:secret@127.0.0.1:x/", nil, "want postgres://"},
		"tables missing": {url + "&ddl=off&schema=nosuch", driver.ErrNotFound, "deed migrations print"},
	} {
		conn, err := Open(t.Context(), c.url, nil)
		if err == nil {
			conn.Close()
			t.Errorf("%s: opened", what)
			continue
		}
		if c.sentinel != nil && !errors.Is(err, c.sentinel) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that wraps %v and says %q", what, err, c.sentinel, c.says)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", what, err)
		}
	}
}

// TestPostgresRefusesText publishes what Postgres cannot keep: each event is refused for
// itself, and the next is stored.
func TestPostgresRefusesText(t *testing.T) {
	t.Parallel()
	c := openURL(t, pgtest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	for what, m := range map[string]driver.Message{
		"a zero byte":     {ID: "a", Key: "k\x00"},
		"too long a key":  {ID: "b", Key: strings.Repeat("k", 2001)},
		"text that is no": {ID: "c", Key: "\xff"},
	} {
		rs, err := c.Publish(t.Context(), []driver.Batch{{Topic: "orders", Messages: []driver.Message{m}}})
		if err != nil || !errors.Is(rs[0].Err, driver.ErrRefused) {
			t.Errorf("%s: %v, receipts %v, want it refused", what, err, rs)
		}
	}
	publish(t, c, "orders", 0, 1)
	if got := ends(t, c, "orders"); got[0] != "1" {
		t.Errorf("the partition ends at %s, want 1", got[0])
	}
}

// TestDurabilityOfSettings reads the class from the server, and from the role's own
// settings.
func TestDurabilityOfSettings(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Durable)
	for _, s := range []struct {
		settings []string
		class    driver.Class
		change   string
	}{
		{nil, driver.Power, ""},
		{[]string{"synchronous_commit = off"}, driver.Memory, "synchronous_commit = on"},
		{[]string{"synchronous_commit = local"}, driver.Power, ""},
		{[]string{"full_page_writes = off"}, driver.Process, "full_page_writes = on"},
		{[]string{"full_page_writes = on", "fsync = off"}, driver.Process, "fsync = on"},
	} {
		if s.settings != nil {
			server.Restart(s.settings...)
		}
		c, err := Open(t.Context(), server.URL("postgres"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if f := c.Features(); f.Durability != s.class || f.Setting != s.change {
			t.Errorf("%v: %v, change %q; want %v, %q", s.settings, f.Durability, f.Setting, s.class, s.change)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPostgresLostConnections explains what the network and pgx say of a connection that is
// gone: the engine is away, so that who waits for it tries again.
func TestPostgresLostConnections(t *testing.T) {
	t.Parallel()
	d := &postgresDialect{where: "here"}
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, sqldriver.ErrBadConn,
		pgconn.ErrConnClosed, // of a commit whose connection was reset
	} {
		who, err := d.explain(fmt.Errorf("commit: %w", lost))
		if !errors.Is(err, driver.ErrAway) || !errors.Is(err, lost) || who != allJobs {
			t.Errorf("%v is explained as %v, of %v", lost, err, who)
		}
	}
}
