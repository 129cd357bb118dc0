package deedsql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/sqldb"
)

func TestMySQLConformance(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	name := s.Database(t)
	url := s.URL(name)
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() },

		Database: openService(t, "mysql", s.DSN(name), sqldb.MySQL),
	})
}

func TestMySQLURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"mysql://u:p%40@db:3307/shop":               "u:p@@tcp(db:3307)/shop",
		"mysql://db/shop":                           "tcp(db:3306)/shop",
		"mysql://[::1]/shop":                        "tcp([::1]:3306)/shop",
		"mysql://u@/shop?socket=/run/m.sock":        "u@unix(/run/m.sock)/shop",
		"mysql://db/shop?dial_timeout=1s":           "timeout=1s",
		"mysql://db/shop?answer_timeout=45s":        "readTimeout=45s",
		"mysql://db/shop?tls=preferred":             "tls=preferred",
		"mysql://db/shop?max_conns=7&ddl=off":       "tcp(db:3306)/shop",
		"mysql://db/shop?tls=true&skip_verify=true": "tcp(db:3306)/shop",
	} {
		s, err := parseMySQL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
		} else if got := s.config.FormatDSN(); !strings.Contains(got, want) {
			t.Errorf("%s becomes %s (want %s)", url, got, want)
		}
	}
	for url, want := range map[string]string{
		"mysql://u:secret@db":                            "names the database",
		"mysql://u:secret@db/":                           "names the database",
		"mysql://u:secret@db/a/b":                        "names the database",
		"mysql://u:secret@/shop":                         "names no host",
		"mysql://u:secret@db/shop?socket=/x":             "a host and a socket",
		"mysql:u:secret@db/shop":                         "cannot be read",
		"mysql://u:secret@db:x/shop":                     "cannot be read",
		"mysql://u:secret@db/shop?parseTime=true":        `unknown parameter "parseTime"`,
		"mysql://u:secret@db/shop?ddl=no":                "want on or off",
		"mysql://u:secret@db/shop?ddl=on&ddl=off":        "given 2 times",
		"mysql://u:secret@db/shop?dial_timeout=fast":     "want a time",
		"mysql://u:secret@db/shop?answer_timeout=5s":     "a lock is waited for",
		"mysql://u:secret@db/shop?max_conns=1":           "4 or more",
		"mysql://u:secret@db/shop?tls=maybe":             "want true, false or preferred",
		"mysql://u:secret@db/shop?ca=/x":                 "means nothing without tls=true",
		"mysql://u:secret@db/shop?tls=true&cert=/x":      "without each other",
		"mysql://u:secret@db/shop?tls=true&ca=/nowhere":  "no such file",
		"mysql://u:secret@/shop?tls=true&socket=/m.sock": "on a socket",
	} {
		_, err := Open(t.Context(), url, nil)
		text := fmt.Sprint(err)
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(text, want) || strings.Contains(text, "secret") {
			t.Errorf("%s: %v (want %s)", url, err, want)
		}
	}
}

// The class is what the server is set up for, and the setting says what to change.
func TestMySQLDurability(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings string
		class    driver.Class
		setting  string
	}{
		"lazy":    {"innodb_flush_log_at_trx_commit = 0", driver.Memory, "innodb_flush_log_at_trx_commit is 0: set it to 1"},
		"written": {"innodb_flush_log_at_trx_commit = 2", driver.Process, "innodb_flush_log_at_trx_commit is 2: set it to 1"},
		"not synced": {"innodb_flush_log_at_trx_commit = 1", driver.Process,
			"innodb_flush_method is nosync: leave it out"},
		"binlog": {mariatest.Durable + "\nlog_bin = b\nsync_binlog = 0", driver.Process, "sync_binlog is 0: set it to 1"},
		"synced": {mariatest.Durable + "\nlog_bin = b", driver.Power, "MySQL promises nothing about replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mariatest.Start(t, c.settings)
			f := openURL(t, s.URL(s.Database(t))).Features()
			if f.Durability != c.class || f.Setting != c.setting {
				t.Errorf("%v, %q (want %v, %q)", f.Durability, f.Setting, c.class, c.setting)
			}
			most := MySQLPromise().MaxEventBytes
			if f.MaxEventBytes > most || f.MaxEventBytes < most/10 {
				t.Errorf("events of up to %d bytes", f.MaxEventBytes)
			}
		})
	}
}

// TestMySQLTellsApart has names, keys and ids that MySQL's usual collations take for
// equal, and texts that are no text.
func TestMySQLTellsApart(t *testing.T) {
	t.Parallel()
	c := openURL(t, mariatest.Open(t))
	alike := []string{"a", "A", "a ", "á", "ａ"}
	for _, name := range alike {
		topicOf(t, c, name, driver.TopicSettings{Partitions: 1})
	}
	if topics, err := c.Topics(t.Context()); err != nil || len(topics) != len(alike) {
		t.Errorf("%d topics, %v", len(topics), err)
	}
	topicOf(t, c, "window", driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	b := []driver.Batch{{Topic: "window"}}
	for _, id := range append(alike, alike...) {
		b[0].Messages = append(b[0].Messages, driver.Message{ID: id, Source: "s", Key: id, Data: []byte("\x00'\\\xff")})
	}
	rs, err := c.Publish(t.Context(), b)
	if err != nil || rs[0].Err != nil || rs[0].Stored != len(alike) {
		t.Fatalf("%+v, %v", rs, err)
	}
	for _, name := range alike { // groups and members' seats
		subscribe(t, c, "window", name, time.Hour)
	}
	s := subscribe(t, c, "window", "g", time.Hour)
	claim := receive(t, s).Granted[0]
	got := receive(t, s).Deliveries
	parked := make([]driver.Parked, len(got))
	for i, d := range got {
		if d.Key != alike[i] || string(d.Data) != "\x00'\\\xff" {
			t.Errorf("event %d has key %q and data %q", i, d.Key, d.Data)
		}
		parked[i].Message, parked[i].Position, parked[i].State = d.Message, d.Position, driver.Waiting
		parked[i].Error, parked[i].Stack = "no text: \xff\xfe\x00", "\xc3\x28'\\"
	}
	if err := c.Park(t.Context(), claim, parked); err != nil {
		t.Fatal(err)
	}
	if keys, err := c.ParkedKeys(t.Context(), claim, 10); err != nil || len(keys) != len(alike) {
		t.Errorf("parked keys %q, %v", keys, err)
	}
	for _, key := range alike {
		chain, err := c.Chain(t.Context(), claim, key, 10)
		if err != nil || len(chain) != 1 || chain[0].Message.Key != key || chain[0].Error != "no text: \uFFFD\uFFFD" ||
			chain[0].Stack != "\uFFFD('\\" {
			t.Errorf("key %q: %+v, %v", key, chain, err)
		}
	}
}

// TestMySQLTooLarge wants a refusal that names what is too large, of that batch alone.
func TestMySQLTooLarge(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t, "max_allowed_packet = 1M")
	c := openURL(t, s.URL(s.Database(t)))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	most := c.Features().MaxEventBytes
	long := strings.Repeat("x", 2001)
	for want, m := range map[string]driver.Message{
		fmt.Sprintf("%d bytes of data (at most %d)", most+1, most): {ID: "1", Data: make([]byte, most+1)},
		"2001 bytes of its key (at most 2000)":                     {ID: "1", Key: long},
		"2001 bytes of its id":                                     {ID: long},
		"2001 bytes of its source":                                 {ID: "1", Source: long},
	} {
		rs, err := c.Publish(t.Context(), []driver.Batch{
			{Topic: "orders", Messages: []driver.Message{m}}, {Topic: "orders", Messages: []driver.Message{{ID: want}}},
		})
		if err != nil || !errors.Is(rs[0].Err, driver.ErrRefused) || !strings.Contains(rs[0].Err.Error(), want) {
			t.Errorf("%v, %v (want %s)", rs, err, want)
		} else if rs[1].Err != nil || rs[1].Stored != 1 {
			t.Errorf("the batch beside it: %+v", rs[1])
		}
	}
	if _, err := c.CreateTopic(t.Context(), long, driver.TopicSettings{}); !errors.Is(err, driver.ErrRefused) ||
		!strings.Contains(err.Error(), "too long") {
		t.Errorf("a long name: %v", err)
	}
	// Bytes that take two in a statement, and more of them than one statement may hold.
	b := []driver.Batch{{Topic: "orders"}}
	for i := range 5 {
		m := driver.Message{ID: itoa(i), Data: []byte(strings.Repeat("'", most))}
		b[0].Messages = append(b[0].Messages, m)
	}
	rs, err := c.Publish(t.Context(), b)
	if err != nil || rs[0].Err != nil || rs[0].Stored != 5 {
		t.Errorf("the largest: %+v, %v", rs, err)
	}
}
