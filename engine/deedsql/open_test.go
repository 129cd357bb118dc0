package deedsql

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
)

func TestSQLitePath(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:orders.db":       "orders.db",
		"sqlite:./a b?c%d#e.db":  "./a b?c%d#e.db",
		"sqlite:/var/orders.db":  "/var/orders.db",
		"sqlite:///var/order.db": "/var/order.db",
		"sqlite:":                "",
		"sqlite://orders.db":     "",
	} {
		got, err := sqlitePath(url)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", url, got, err, want)
		}
	}
}

// TestOpenRefuses opens what cannot be a bus. The error has to name the file, and
// the attempt may not leave one behind.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database at all\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, says string
		opts             Options
		is               error
	}{
		{"absent directory", filepath.Join(dir, "no", "a.db"), "does not exist", Options{}, nil},
		{"a directory", dir, "directory", Options{}, nil},
		{"not a database", text, "no SQLite database", Options{}, nil},
		{"absent, not to be made", filepath.Join(dir, "b.db"), "does not exist", Options{NoCreate: true}, os.ErrNotExist},
		{"absent, read-only", filepath.Join(dir, "c.db"), "does not exist", Options{ReadOnly: true}, os.ErrNotExist},
		{"without topics", empty, "no topics of deed", Options{NoCreate: true}, driver.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := listing(t, dir)
			conn, err := Open(t.Context(), "sqlite:"+c.path, &c.opts)
			if err == nil {
				conn.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.path) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: want the file and %q", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v does not wrap %v", err, c.is)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("files were %s, are %s", before, after)
			}
		})
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return strings.Join(names, " ")
}

func TestReadOnlyLooksOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	publish(t, c, "orders", 0, 3)
	look, err := Open(t.Context(), "sqlite:"+path, &Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	ds, err := look.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 10})
	if err != nil || len(ds) != 3 {
		t.Errorf("browse: %d events, %v", len(ds), err)
	}
	if _, err := look.Publish(t.Context(), events("orders", 1, 1)); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("publish: %v", err)
	}
}

func TestNewerTablesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	if _, err := c.db.Exec("UPDATE deed_schema SET version = version + 1"); err != nil {
		t.Fatal(err)
	}
	if other, err := Open(t.Context(), "sqlite:"+path, nil); err == nil {
		other.Close()
		t.Error("tables of a newer program were opened")
	} else if !strings.Contains(err.Error(), "newer program") {
		t.Error(err)
	}
}

// TestFullDisk fills the file up to a limit: what does not fit is surely not
// stored, the error says why, and publishing goes on when there is room again.
func TestFullDisk(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	limit := func(pages int) {
		t.Helper()
		err := c.write(t.Context(), 0, func(t *tx) error {
			var n int
			return t.conn().QueryRowContext(t.ctx(), "pragma max_page_count = "+itoa(pages)).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(60)
	stored := int64(0)
	var err error
	for err == nil && stored < 10_000 {
		var rs []driver.Receipt
		if rs, err = c.Publish(t.Context(), events("orders", 1, 20)); err == nil {
			stored += int64(rs[0].Stored)
		}
	}
	if !errors.Is(err, driver.ErrNotStored) || !strings.Contains(err.Error(), "the disk is full") ||
		!strings.Contains(err.Error(), "a.db") {
		t.Fatalf("after %d events: %v", stored, err)
	}
	limit(10_000)
	publish(t, c, "orders", 0, 5)
	if end := ends(t, c, "orders")[0]; end != itoa(int(stored)+5) {
		t.Errorf("%d events were accepted, the partition ends at %s", stored+5, end)
	}
}
