package deedtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedtest"
	"github.com/deedgo/deed/sqldb"
)

type order struct {
	ID    string
	Total int
}

type invoice struct{ Order string }

var (
	orders   = deed.NewTopic("orders", nil)
	created  = deed.NewType(orders, "orders.created", 1, func(o order) string { return o.ID })
	invoices = deed.NewTopic("invoices", nil)
	invoiced = deed.NewType(invoices, "invoices.sent", 1, func(i invoice) string { return i.Order })
)

// everywhere runs a test on both engines, and in virtual time.
func everywhere(t *testing.T, f func(t *testing.T, o deedtest.Options)) {
	t.Run("mem", func(t *testing.T) { f(t, deedtest.Options{}) })
	t.Run("sqlite", func(t *testing.T) { f(t, deedtest.Options{SQLite: true}) })
	t.Run("bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, deedtest.Options{}) })
	})
	t.Run("sqlite-bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, deedtest.Options{SQLite: true}) })
	})
}

// database opens the service's own database.
func database(t testing.TB) *sqldb.DB {
	t.Helper()
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "service.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return sqldb.SQLite(db)
}

func count(t testing.TB, db *sqldb.DB, query string) (n int) {
	t.Helper()
	if err := db.SQL().QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t testing.TB, db *sqldb.DB, query string) {
	t.Helper()
	err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// calls counts how often something was called.
type calls struct {
	mu sync.Mutex
	of map[string]int
}

// add returns how often it was called with this name now.
func (c *calls) add(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]int)
	}
	c.of[name]++
	return c.of[name]
}

func (c *calls) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[name]
}

// trial is a test whose failures are looked at instead of reported.
type trial struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// try runs f as a test and returns what it failed with.
func try(t *testing.T, f func(t testing.TB)) (failures string) {
	t.Helper()
	tr := &trial{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			for len(tr.cleanups) > 0 {
				last := len(tr.cleanups) - 1
				clean := tr.cleanups[last]
				tr.cleanups = tr.cleanups[:last]
				clean()
			}
		}()
		f(tr)
	})
	wg.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return strings.Join(tr.failures, "\n")
}

func (t *trial) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

func (t *trial) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *trial) Helper()          {}
func (t *trial) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// mentions reports every text that failures lack.
func mentions(t *testing.T, failures string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(failures, text) {
			t.Errorf("the failure does not mention %q:\n%s", text, failures)
		}
	}
}
