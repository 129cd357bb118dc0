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
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/sqldb"
)

// Config is what a service is told by who starts it.
type Config struct {
	Bus    string        // URL of the bus, "sqlite:/var/lib/shop/bus.db"
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
	bus, err := engine.Open(ctx, cfg.Bus, &deed.Options{Source: "/" + name, Lease: cfg.Lease})
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
	runCtx, stopRunners := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRunners()

	running := make(chan error, 1) // read once, below
	go func() { running <- s.bus.Run(runCtx, runners...) }()
	server, serving, err := s.serve(api)
	if err != nil {
		stopRunners()
		return errors.Join(err, <-running, s.close())
	}

	var runErr error
	ended := false
	select {
	case <-ctx.Done():
	case runErr = <-running: // nothing can go on
		ended = true
	case err = <-serving:
	}
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err = errors.Join(err, server.Shutdown(shutdownCtx))
	stopRunners()
	if !ended {
		runErr = <-running
	}
	return errors.Join(err, runErr, s.close())
}

// serve starts the HTTP API and says so. The channel hears why it ended early.
func (s *Service) serve(api http.Handler) (*http.Server, <-chan error, error) {
	listen := s.cfg.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.name, err)
	}
	server := &http.Server{Handler: api, ReadHeaderTimeout: headerTimeout}
	serving := make(chan error, 1) // so that nobody has to read it
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			serving <- err
		}
	}()
	if s.cfg.Ready != nil {
		fmt.Fprintf(s.cfg.Ready, "ready http://%s\n", l.Addr())
	}
	return server, serving, nil
}

func (s *Service) close() error { return errors.Join(s.bus.Close(), s.sqlDB.Close()) }
