// Package service is the frame of a service: what it is given, how it starts, and in
// which order it stops.
package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/sqldb"
)

// Config is what a service is told by who starts it.
type Config struct {
	Bus    string        // URL of the bus, "sqlite:/var/lib/shop/bus.db"
	State  string        // URL of a second engine, for a bus that keeps no dead letters
	Dir    string        // where the service keeps its own database
	Listen string        // address of the HTTP API; "" means a free port of this machine
	Lease  time.Duration // how long the others wait for this service when it went silent; 0 means deed's default
	// Ready hears "ready URL" once the service works.
	Ready io.Writer
}

// Service is a bus, a database of its own, and what runs on them.
type Service struct {
	DB  *sqldb.DB
	bus *deed.Bus

	name  string
	sqlDB *sql.DB
	cfg   Config
}

// Open opens the service's own database, name.db, with the tables of schema, and
// the bus.
func Open(ctx context.Context, name string, cfg Config, schema string) (*Service, error) {
	sqlDB, err := sqldb.OpenSQLite(filepath.Join(cfg.Dir, name+".db"), nil)
	if err != nil {
		return nil, err
	}
	if _, err := sqlDB.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: create tables: %w", name, err), sqlDB.Close())
	}
	bus, err := engine.Open(ctx, cfg.Bus, &deed.Options{Source: "/" + name, Lease: cfg.Lease, State: cfg.State})
	if err != nil {
		return nil, errors.Join(err, sqlDB.Close())
	}
	return &Service{DB: sqldb.SQLite(sqlDB), bus: bus, name: name, sqlDB: sqlDB, cfg: cfg}, nil
}

// How long an HTTP client may take, so that a slow one cannot hold us up.
const (
	headerTimeout   = 5 * time.Second
	shutdownTimeout = 10 * time.Second
)

// Run serves api and works with runners until ctx ends, and closes the service.
//
// The order of the end is what keeps every promise: first the HTTP server takes no
// more work and finishes what it has; then the handlers drain and the outbox makes
// its last pass; only then the bus closes, and the database that all of them wrote
// to comes last.
func (s *Service) Run(ctx context.Context, api http.Handler, runners ...deed.Runner) error {
	serveCtx, stopServing := context.WithCancel(ctx)
	defer stopServing()
	runCtx, stopRunning := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRunning()

	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		runErr = s.bus.Run(runCtx, runners...)
		stopServing() // had it ended early, nothing could go on
	})
	err := s.serve(serveCtx, api)
	stopRunning()
	running.Wait()
	return errors.Join(err, runErr, s.bus.Close(), s.sqlDB.Close())
}

// serve answers requests until ctx ends, and then those that are open.
func (s *Service) serve(ctx context.Context, api http.Handler) error {
	listen := s.cfg.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: api, ReadHeaderTimeout: headerTimeout}
	var stopping sync.WaitGroup
	var stopErr error
	stopping.Go(func() {
		<-ctx.Done()
		shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopErr = server.Shutdown(shutdownCtx)
	})
	if s.cfg.Ready != nil {
		fmt.Fprintf(s.cfg.Ready, "ready http://%s\n", listener.Addr())
	}
	err = server.Serve(listener) // returns when Shutdown begins
	stop()
	stopping.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, stopErr)
}
