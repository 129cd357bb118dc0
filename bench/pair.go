package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // for database/sql

	"github.com/deedgo/deed"
)

// scaleLimit is how many times slower a large log, or an open snapshot, may be.
const scaleLimit = 1.5

// contender is one of two servers that do the same in turns: what differs is what a check
// is about, and a neighbour's noise falls on both.
type contender struct {
	server sqlServer
	url    string // deed's
	db     *sql.DB
	bus    *deed.Bus // publishes
	reader *deed.Bus // in place of another process: it has nothing in memory
}

// startPair starts two servers of the same kind.
func startPair(ctx context.Context, s *settings, dir string) (plain, other *contender, err error) {
	var both [2]*contender
	for i := range both {
		home := filepath.Join(dir, fmt.Sprint("server-", i))
		if err := os.Mkdir(home, 0o755); err != nil {
			return nil, nil, err
		}
		if both[i], err = startContender(ctx, s.only == "mysql", home); err != nil {
			if i > 0 {
				err = errors.Join(err, both[0].stop())
			}
			return nil, nil, err
		}
	}
	return both[0], both[1], nil
}

func startContender(ctx context.Context, mysql bool, dir string) (c *contender, err error) {
	c = &contender{}
	if mysql {
		server, err := startMySQL(ctx, dir)
		if err != nil {
			return nil, err
		}
		c.server, c.url = server, server.url()
		c.db, err = sql.Open("mysql", server.dsn(mysqlDatabase))
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
	} else {
		server, err := startPostgres(ctx, dir)
		if err != nil {
			return nil, err
		}
		c.server, c.url = server, server.url
		c.db, err = sql.Open("pgx", server.url)
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	if c.bus, err = openBus(ctx, c.url, ""); err == nil {
		c.reader, err = openBus(ctx, c.url, "")
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *contender) mysql() bool { return strings.HasPrefix(c.url, "mysql:") }

// exec runs statements on the server.
func (c *contender) exec(ctx context.Context, queries ...string) error {
	for _, q := range queries {
		if _, err := c.db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

func (c *contender) stop() error {
	var errs []error
	for _, b := range []*deed.Bus{c.bus, c.reader} {
		if b != nil {
			errs = append(errs, b.Close())
		}
	}
	if c.db != nil {
		errs = append(errs, c.db.Close())
	}
	return errors.Join(append(errs, c.server.stop())...)
}

// errSlower is what is too slow, as opposed to what does not work.
var errSlower = errors.New("too slow")

// compared is one thing that was measured of both, in turns.
type compared struct {
	what         string
	plain, other []float64 // in what is better when it is more
}

// slower is how many times the other one is slower.
func (c *compared) slower() float64 { return middle(c.plain) / max(middle(c.other), 1e-9) }

// judge prints what was compared and fails when something is too slow.
func judge(all []*compared, plain, other string) error {
	fmt.Printf("| | %s | %s | times slower (at most %.1f) |\n|---|--:|--:|--:|\n", plain, other, scaleLimit)
	var failed []error
	for _, c := range all {
		fmt.Printf("| %s | %s | %s | %.2f |\n", c.what, count(middle(c.plain)), count(middle(c.other)), c.slower())
		if c.slower() > scaleLimit {
			failed = append(failed, fmt.Errorf("%s: %.2f times slower with %s, more than %.1f: %w",
				c.what, c.slower(), other, scaleLimit, errSlower))
		}
	}
	return errors.Join(failed...)
}
