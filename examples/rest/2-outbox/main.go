// Command 2-outbox is the service of 1-plain, which now announces each booking. The
// announcement is written in the booking's own transaction.
//
//	go run ./examples/rest/2-outbox
//	curl -d '{"show": "alien", "name": "Ripley", "seats": 2}' localhost:8080/bookings
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`address` to listen on")
	dir := flag.String("dir", ".", "`folder` of the database")
	busURL := flag.String("bus", "sqlite:bus.db", "`URL` of the bus")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", *addr)
	if err == nil {
		err = run(ctx, listener, *dir, *busURL)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bookings:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, listener net.Listener, dir, busURL string) error {
	// [open]
	sqlDB, err := sqldb.OpenSQLite(filepath.Join(dir, "bookings.db"), nil)
	if err != nil {
		return err
	}
	defer sqlDB.Close() // last, everything below writes to it
	if _, err := sqlDB.ExecContext(ctx, schema); err != nil {
		return err
	}
	bus, err := engine.Open(ctx, busURL, &deed.Options{Source: "/bookings"})
	if err != nil {
		return err
	}
	defer bus.Close()
	db := sqldb.SQLite(sqlDB)
	box := outbox.New(db, "/bookings", nil)
	b := &bookings{db: db, box: box}
	// [open]

	// [run]
	serveCtx, stopServing := context.WithCancel(ctx)
	defer stopServing()
	runCtx, stopRunning := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRunning()
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		runErr = bus.Run(runCtx, box)
		stopServing() // had it ended early, we could not announce anything
	})

	err = serve(serveCtx, listener, b.routes()) // returns when no request is open any more
	stopRunning()                               // the outbox makes a last pass
	running.Wait()
	return errors.Join(err, runErr)
	// [run]
}

// serve answers requests until ctx ends, and then those that are open.
func serve(ctx context.Context, listener net.Listener, api http.Handler) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second}
	var stopping sync.WaitGroup
	var stopErr error
	stopping.Go(func() {
		<-ctx.Done()
		shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		stopErr = server.Shutdown(shutdownCtx)
	})
	err := server.Serve(listener) // returns when Shutdown begins
	stop()
	stopping.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, stopErr)
}
