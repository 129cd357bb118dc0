package deedamqp_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedamqp"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/rabbittest"
	"github.com/deedgo/deed/internal/testenv"
)

// A node of RabbitMQ takes seconds to start, and tests wait for it more than they compute.
func TestMain(m *testing.M) {
	testenv.Parallel(4)
	os.Exit(m.Run())
}

// pair connects to a server, and to the state beside it.
func pair(ctx context.Context, url, state string) (driver.Conn, error) {
	log, err := deedamqp.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	s, err := deedsql.Open(ctx, state, nil)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	both, err := driverkit.WithState(log, s)
	if err != nil {
		return nil, errors.Join(err, log.Close(), s.Close())
	}
	return both, nil
}

func conforms(t *testing.T, query string, state func(testing.TB) string) {
	t.Parallel()
	url := rabbittest.Start(t).URL() + query
	at := state(t)
	drivertest.Test(t, drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) { return pair(ctx, url, at) },
	})
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "state.db") }

func TestConformance(t *testing.T) { conforms(t, "", sqlite) }

func TestConformanceWithPostgres(t *testing.T) { conforms(t, "", pgtest.Open) }

func TestStreamsConformance(t *testing.T) { conforms(t, streaming, sqlite) }

func TestStreamsConformanceWithPostgres(t *testing.T) { conforms(t, streaming, pgtest.Open) }

// streaming is put behind a URL for streams.
const streaming = "?queues=stream"
