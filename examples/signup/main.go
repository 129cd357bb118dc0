// Command signup is the ten-minute introduction: two producers, a page on which
// people register and a script that imports a list, and four consumers, a customers
// database, a mailing list, welcome mails and statistics. The producers know nothing
// of the consumers. README.md walks through it.
//
//	go run ./examples/signup
//	go run ./examples/signup -bus mem:
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

func main() {
	busURL := flag.String("bus", "", "`URL` of the bus (default a SQLite file in a temporary folder)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *busURL); err != nil {
		fmt.Fprintln(os.Stderr, "signup:", err)
		os.Exit(1)
	}
}

// run plays the session in a temporary folder.
func run(ctx context.Context, out io.Writer, busURL string) (err error) {
	dir, err := os.MkdirTemp("", "deed-signup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if busURL == "" {
		busURL = "sqlite:" + filepath.Join(dir, "bus.db")
	}
	return session(ctx, out, dir, busURL)
}

// session is the whole system. Deferred calls run last first, which gives the order
// of the end: the page takes no more work, the handlers drain, the bus closes, then
// the databases.
func session(ctx context.Context, out io.Writer, dir, busURL string) (err error) {
	pageDB, err := openDB(ctx, filepath.Join(dir, "register.db"), registerSchema)
	if err != nil {
		return err
	}
	defer pageDB.SQL().Close()
	customersDB, err := openDB(ctx, filepath.Join(dir, "customers.db"), customersSchema)
	if err != nil {
		return err
	}
	defer customersDB.SQL().Close()

	// [bus]
	done := newTally()
	bus, err := engine.Open(ctx, busURL, &deed.Options{
		Source:     "/signup",
		Middleware: []deed.Middleware{done.middleware},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	// [bus]

	box := outbox.New(pageDB, "/register", nil)
	c := &customers{customersDB}
	l := &mailingList{addresses: make(map[string]bool)}
	w := &welcome{&mailService{sent: make(map[string]string)}}
	s := &statistics{via: make(map[string]int)}

	// [run]
	runCtx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		runErr = bus.Run(runCtx, box, c.subscription(), l.subscription(), w.subscription(), s.subscription())
		stop() // had it ended early, there would be nothing to wait for
	})
	defer func() {
		stop() // the handlers finish what they have, the outbox makes a last pass
		running.Wait()
		err = errors.Join(err, runErr)
	}()
	// [run]

	page := httptest.NewServer(&register{pageDB, box})
	defer page.Close()

	announced, err := announce(ctx, out, page.URL, bus)
	if err != nil {
		return err
	}
	if err := done.wait(runCtx, announced, "customers", "mailing-list", "welcome", "statistics"); err != nil {
		return err
	}
	return report(ctx, out, c, l, w, s)
}

func openDB(ctx context.Context, file, schema string) (*sqldb.DB, error) {
	db, err := sqldb.OpenSQLite(file, nil)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return sqldb.SQLite(db), nil
}

// What the script of the session says.
var (
	forms = []string{
		`{"email": "ada@example.org", "name": "Ada", "newsletter": true}`,
		`{"email": "grace@example.org", "name": "Grace"}`,
		`{"email": "ada@example.org", "name": "Ada again"}`,
	}
	list = "edsger@example.org,Edsger,no\n" +
		"barbara@example.org,Barbara,yes\n" +
		"donald@example.org,Donald,yes\n"
)

// announce lets both producers work and returns how many events they announced.
func announce(ctx context.Context, out io.Writer, page string, bus *deed.Bus) (events int, err error) {
	fmt.Fprintln(out, "producers")
	for _, form := range forms {
		resp, err := http.Post(page, "application/json", strings.NewReader(form))
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusCreated {
			events++
		}
		fmt.Fprintf(out, "  register page  %-66s %s\n", form, resp.Status)
	}
	for range 2 {
		receipt, err := importCSV(ctx, bus, strings.NewReader(list))
		if err != nil {
			return 0, err
		}
		events += receipt.Stored
		fmt.Fprintf(out, "  import script  %d lines: stored %d events, knew %d already\n",
			receipt.Stored+receipt.Duplicates, receipt.Stored, receipt.Duplicates)
	}
	return events, nil
}

// report shows what each consumer did. All handlers are done by now.
func report(ctx context.Context, out io.Writer, c *customers, l *mailingList, w *welcome, s *statistics) error {
	rows, err := c.db.SQL().QueryContext(ctx, `SELECT email, name, points FROM customers ORDER BY email`)
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Fprintln(out, "\nconsumers")
	for rows.Next() {
		var email, name string
		var points int
		if err := rows.Scan(&email, &name, &points); err != nil {
			return err
		}
		fmt.Fprintf(out, "  customers      %-20s %-8s %d points\n", email, name, points)
	}
	fmt.Fprintf(out, "  mailing-list   %s\n", strings.Join(slices.Sorted(maps.Keys(l.addresses)), ", "))
	for _, text := range slices.Sorted(maps.Values(w.mails.sent)) {
		fmt.Fprintf(out, "  welcome        %s\n", text)
	}
	fmt.Fprintf(out, "                 (%d calls for %d mails: an answer was lost, the second call had the same key)\n",
		w.mails.calls, len(w.mails.sent))
	fmt.Fprintf(out, "  statistics     %d by the page, %d by the import\n", s.via["page"], s.via["import"])
	return rows.Err()
}
