package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/mariatest"
)

func TestMySQLRefuses(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	db := s.Database(t)
	for name, c := range map[string]struct {
		url  string
		opts *Options
		is   error
		want string
	}{
		"no database": {s.URL("nowhere"), nil, driver.ErrNotFound, "CREATE DATABASE it first"},
		"password":    {strings.Replace(s.URL(db), "root@", "root:wrong@", 1), nil, driver.ErrRefused, "user or password"},
		"no tables":   {s.URL(db), &Options{NoCreate: true}, os.ErrNotExist, "deed migrations print"},
		"read-only":   {s.URL(db), &Options{ReadOnly: true}, os.ErrNotExist, "deed migrations print"},
		"ddl=off":     {s.URL(db) + "?ddl=off", nil, driver.ErrNotFound, "deed migrations print"},
		"nobody":      {"mysql://root@127.0.0.1:1/x", nil, driver.ErrAway, "connection refused"},
	} {
		_, err := Open(t.Context(), c.url, c.opts)
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v (want %v, %s)", name, err, c.is, c.want)
		}
	}
	old := mariatest.Start(t, "log_bin = b\nbinlog_format = STATEMENT")
	_, err := Open(t.Context(), old.URL(old.Database(t)), nil)
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "MIXED or ROW") {
		t.Errorf("with STATEMENT: %v", err)
	}
	for version, want := range map[string]string{
		"10.5.26-MariaDB": "want MariaDB 10.6", "5.7.44-log": "want MySQL 8.0.21", "what": "cannot read",
		"8.4.2": "", "11.4.3-MariaDB-x": "",
	} {
		err := (&mysqlServer{version: version}).refuse()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("version %s: %v (want %q)", version, err, want)
		}
	}
}

// TestMySQLClerk opens the engine as a user without the right to create anything: once
// the printed tables are there all works.
func TestMySQLClerk(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	db := s.Database(t)
	for _, q := range []string{
		"CREATE USER clerk@'%'", "GRANT SELECT, INSERT, UPDATE, DELETE ON " + db + ".* TO clerk@'%'",
	} {
		if _, err := s.Ask(db, q); err != nil {
			t.Fatal(err)
		}
	}
	url := strings.Replace(s.URL(db), "root@", "clerk@", 1)
	if _, err := Open(t.Context(), url, nil); !errors.Is(err, driver.ErrRefused) ||
		!strings.Contains(err.Error(), "deed migrations print") {
		t.Errorf("without tables: %v", err)
	}
	script, err := Migrations(url)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("mysql", s.DSN(db)+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec(script); err != nil {
		t.Fatal(err)
	}
	for i, u := range []string{url, url + "?ddl=off"} {
		c := openURL(t, u)
		name := fmt.Sprint("orders", i)
		topicOf(t, c, name, driver.TopicSettings{Partitions: 1})
		publish(t, c, name, 0, 5)
		if got := drain(t, c, name, "g", 5); len(got[0]) != 5 {
			t.Errorf("got %v", got)
		}
		var rows int
		err := c.db.QueryRow("SELECT count(*) FROM deed_event WHERE topic = ?", name).Scan(&rows)
		if err != nil || rows != 5 {
			t.Errorf("deed_event has %d rows: %v", rows, err)
		}
	}
	if _, err := admin.Exec("UPDATE deed_schema SET version = version + 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), url, nil); err == nil || !strings.Contains(err.Error(), "run a newer program") {
		t.Errorf("tables of a newer program: %v", err)
	}
}

// TestMySQLReadable reads what people read.
func TestMySQLReadable(t *testing.T) {
	t.Parallel()
	c := openURL(t, mariatest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	at := time.Date(2026, 1, 2, 3, 4, 5, 678000000, time.UTC)
	m := driver.Message{ID: "1", Source: "/shop", Type: "orders.created", Version: 2, Key: "k€", Time: at,
		Data: []byte(`{"n":1}`), Attributes: map[string]string{"subject": "x"}}
	later := m
	later.NotBefore = time.Now().Add(time.Hour)
	rs, err := c.Publish(t.Context(), []driver.Batch{{Topic: "orders", Messages: []driver.Message{m, later}}})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	var got string
	err = c.db.QueryRow("SELECT concat_ws('|', topic, `partition`, position, source, id, type, version, `key`, time, " +
		"content_type, attributes, data) FROM deed_event").Scan(&got)
	const want = `orders|0|1|/shop|1|orders.created|2|k€|2026-01-02 03:04:05.678000||{"subject": "x"}|{"n":1}`
	if err != nil || got != want {
		t.Errorf("deed_event: %v\ngot  %s\nwant %s", err, got, want)
	}
	err = c.db.QueryRow("SELECT concat_ws('|', topic, source, id, type, `key`, data, due > accepted_at) " +
		"FROM deed_scheduled").Scan(&got)
	if err != nil || got != `orders|/shop|1|orders.created|k€|{"n":1}|1` {
		t.Errorf("deed_scheduled: %v, %s", err, got)
	}
}

// TestMySQLReadOnly makes the server read-only, as a failover does.
func TestMySQLReadOnly(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	db := s.Database(t)
	admin := openURL(t, s.URL(db))
	topicOf(t, admin, "orders", driver.TopicSettings{Partitions: 1})
	for _, q := range []string{"CREATE USER app@'%'", "GRANT ALL ON " + db + ".* TO app@'%'", "SET GLOBAL read_only = 1"} {
		if _, err := s.Ask(db, q); err != nil {
			t.Fatal(err)
		}
	}
	c := openURL(t, strings.Replace(s.URL(db), "root@", "app@", 1)+"?ddl=off")
	_, err := c.Publish(t.Context(), events("orders", 1, 1))
	if !errors.Is(err, driver.ErrNotStored) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("while it is read-only: %v", err)
	}
	if _, err := s.Ask(db, "SET GLOBAL read_only = 0"); err != nil {
		t.Fatal(err)
	}
	publish(t, c, "orders", 0, 1)
}

// TestMySQLFull fills the server's one file. What was accepted can be read, what was not
// is not there, and when there is room again it goes on.
func TestMySQLFull(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t, "innodb_file_per_table = 0", "innodb_data_file_path = ibdata1:12M:autoextend:max:24M")
	c := openURL(t, s.URL(s.Database(t)))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	data := make([]byte, 1<<20)
	stored, err := 0, error(nil)
	for ; err == nil && stored < 64; stored++ {
		_, err = c.Publish(t.Context(), []driver.Batch{{Topic: "orders", Messages: []driver.Message{{ID: "x", Data: data}}}})
	}
	stored--
	if !errors.Is(err, driver.ErrNotStored) || !strings.Contains(err.Error(), "full") {
		t.Fatalf("after %d events: %v", stored, err)
	}
	if got := ends(t, c, "orders")[0]; got != itoa(stored) {
		t.Errorf("the log ends at %s, %d events were accepted", got, stored)
	}
	s.Restart("innodb_data_file_path = ibdata1:12M:autoextend:max:48M")
	publish(t, c, "orders", 0, 1)
	if got := ends(t, c, "orders")[0]; got != itoa(stored+1) {
		t.Errorf("with more room, the log ends at %s", got)
	}
}

// TestMySQLDeadlock has a user lock the ends of two partitions in the order in which deed
// does not: one of both is thrown out, and deed begins anew.
func TestMySQLDeadlock(t *testing.T) {
	t.Parallel()
	c := openURL(t, mariatest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	ctx := t.Context()
	user, err := c.db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	exec := func(query string) {
		t.Helper()
		if _, err := user.ExecContext(ctx, query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	exec("SET SESSION idle_transaction_timeout = 0") // which deed's own connections have
	exec("CREATE TABLE users_own (n int)")
	exec("START TRANSACTION")
	exec("INSERT INTO users_own VALUES (1)" + strings.Repeat(", (1)", 999)) // who has written less is thrown out
	exec("UPDATE deed_head SET bytes = bytes WHERE `partition` = 1 AND topic_id = (SELECT id FROM deed_topic)")
	published := make(chan error)
	go func() {
		_, err := c.Publish(context.Background(), []driver.Batch{
			{Topic: "orders", Messages: []driver.Message{{ID: "1"}}},
			{Topic: "orders", Partition: 1, Messages: []driver.Message{{ID: "2"}}},
		})
		published <- err
	}()
	until(t, "the writer waits", func() bool {
		var waits int
		// innodb_trx does not have every transaction that waits before it has written.
		err := c.db.QueryRow("SELECT count(*) FROM information_schema.processlist " +
			"WHERE info LIKE 'SELECT topic_id%FOR UPDATE'").Scan(&waits)
		return err == nil && waits == 1
	})
	exec("UPDATE deed_head SET bytes = bytes WHERE `partition` = 0 AND topic_id = (SELECT id FROM deed_topic)")
	select {
	case err := <-published:
		t.Fatalf("published over a user's lock: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	exec("COMMIT")
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ends(t, c, "orders")); got != "[1 1]" {
		t.Errorf("the log ends at %s", got)
	}
}

// TestMySQLStall stops a writer within its transaction: MariaDB ends it, another goes on,
// and what the first had not committed is not there.
func TestMySQLStall(t *testing.T) {
	t.Parallel()
	url := mariatest.Open(t)
	stalled, other := openURL(t, url), openURL(t, url)
	topicOf(t, stalled, "orders", driver.TopicSettings{Partitions: 1})
	began, release, ended := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		batches := events("orders", 1, 1)
		first := true
		ended <- stalled.run(context.Background(), &job{batches: batches, run: func(tx *tx) error {
			_, err := tx.append(&batches[0])
			if first {
				first = false
				err = errors.Join(err, tx.flush())
				began <- true
				<-release
			}
			return err
		}})
	}()
	<-began
	publish(t, other, "orders", 0, 2) // waits until then
	close(release)
	if err := <-ended; err == nil {
		t.Error("a transaction that the server has ended was committed")
	}
	if got := ends(t, other, "orders")[0]; got != "2" {
		t.Errorf("the log ends at %s", got)
	}
	publish(t, stalled, "orders", 0, 1)
}

// TestMySQLTLS connects with TLS to a user who wants it, and with a certificate to one who
// wants that.
func TestMySQLTLS(t *testing.T) {
	t.Parallel()
	s, certs := mariatest.StartTLS(t)
	db := s.Database(t)
	for user, wants := range map[string]string{"safe": "SSL", "known": "X509"} {
		if _, err := s.Ask(db, fmt.Sprintf("CREATE USER %s@'%%' REQUIRE %s", user, wants)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ask(db, fmt.Sprintf("GRANT ALL ON %s.* TO %s@'%%'", db, user)); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user, query string) string { return strings.Replace(s.URL(db), "root@", user+"@", 1) + "?" + query }
	ca := "tls=true&ca=" + certs.CAFile
	pair := "&cert=" + certs.CertFile + "&key=" + certs.KeyFile
	for _, url := range []string{
		as("safe", ca), as("safe", "tls=true&skip_verify=true"), as("safe", "tls=preferred"), as("known", ca+pair),
	} {
		c := openURL(t, url)
		var name, cipher string
		if err := c.db.QueryRow("SHOW STATUS LIKE 'Ssl_cipher'").Scan(&name, &cipher); err != nil || cipher == "" {
			t.Errorf("%s: no TLS: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		as("safe", ""): "user or password", as("known", ca): "user or password", as("safe", "tls=true"): "certificate",
	} {
		if _, err := Open(t.Context(), url, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (want %s)", url, err, want)
		}
	}
}

// TestMySQLLooksOn opens a database without the right to write.
func TestMySQLLooksOn(t *testing.T) {
	t.Parallel()
	url := mariatest.Open(t)
	topicOf(t, openURL(t, url), "orders", driver.TopicSettings{Partitions: 1})
	c, err := Open(t.Context(), url, &Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := ends(t, c, "orders"); len(got) != 1 {
		t.Errorf("the log has ends %q", got)
	}
	if _, err := c.Publish(t.Context(), events("orders", 1, 1)); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("published: %v", err)
	}
	if _, err := c.db.Exec("DELETE FROM deed_topic"); err == nil {
		t.Error("the database itself would let it write")
	}
}
