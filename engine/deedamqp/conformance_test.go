package deedamqp_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedamqp"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/rabbittest"
)

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

func TestConformance(t *testing.T) {
	url, state := rabbittest.Start(t).URL(), "sqlite:"+filepath.Join(t.TempDir(), "state.db")
	drivertest.Test(t, drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) { return pair(ctx, url, state) },
	})
}

func TestConformanceWithPostgres(t *testing.T) {
	url, state := rabbittest.Start(t).URL(), pgtest.Open(t)
	drivertest.Test(t, drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) { return pair(ctx, url, state) },
	})
}
