// Command 1-plain is a small REST service as there are many: it takes bookings for
// shows and keeps them in a database. The guide adds events to it.
//
//	go run ./examples/rest/1-plain
//	curl -d '{"show": "alien", "name": "Ripley", "seats": 2}' localhost:8080/bookings
package main

import (
	"context"
	"database/sql"
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

	_ "modernc.org/sqlite"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`address` to listen on")
	dir := flag.String("dir", ".", "`folder` of the database")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", *addr)
	if err == nil {
		err = run(ctx, listener, *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bookings:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, listener net.Listener, dir string) error {
	// [open]
	db, err := sql.Open("sqlite", filepath.Join(dir, "bookings.db"))
	// [open]
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	b := &bookings{db: db}

	return serve(ctx, listener, b.routes())
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
