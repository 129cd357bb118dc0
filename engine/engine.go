// Package engine opens engines by URL, so that a program moves from one to another
// by changing a setting. A program that wants a single engine in its binary opens
// that engine's package and calls deed.New instead.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/engine/deedamqp"
	"github.com/deedgo/deed/engine/deedkafka"
	"github.com/deedgo/deed/engine/deedmem"
	"github.com/deedgo/deed/engine/deedmqtt"
	"github.com/deedgo/deed/engine/deednats"
	"github.com/deedgo/deed/engine/deedredis"
	"github.com/deedgo/deed/engine/deedsql"
)

// ErrURL means that a URL names no engine.
var ErrURL = errors.New("no engine has this URL")

type scheme struct {
	name    string
	open    func(ctx context.Context, url string, o *deed.Options) (driver.Conn, error)
	examine func(ctx context.Context, url string) ([]driver.Finding, error) // nil: there is no server to look at
	tables  func(url string) (string, error)                                // nil: it has none

	ephemeral bool // it stores nothing
	queues    bool // it is nothing without Options.State
}

// schemes is the one table of the engines there are. It is a table and not a
// registry, so that reading it answers what a binary can open.
var schemes = []scheme{
	{name: "amqp", open: openAMQP, examine: deedamqp.Examine, queues: true},
	{name: "amqps", open: openAMQP, examine: deedamqp.Examine, queues: true},
	{name: "kafka", open: openKafka, examine: deedkafka.Examine},
	{name: "mem", open: func(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
		return deedmem.Open(ctx, url, nil)
	}},
	{name: "mem+pubsub", open: openMemPubSub, ephemeral: true},
	{name: "mqtt", open: openMQTT, ephemeral: true},
	{name: "mqtts", open: openMQTT, ephemeral: true},
	{name: "mysql", open: openSQL, examine: deedsql.Examine, tables: deedsql.Migrations},
	{name: "nats", open: openNATS, examine: deednats.Examine},
	{name: "postgres", open: openSQL, examine: deedsql.Examine, tables: deedsql.Migrations},
	{name: "postgresql", open: openSQL, examine: deedsql.Examine, tables: deedsql.Migrations},
	{name: "redis", open: openRedis, examine: deedredis.Examine},
	{name: "redis+pubsub", open: openRedisPubSub, ephemeral: true},
	{name: "rediss", open: openRedis, examine: deedredis.Examine},
	{name: "rediss+pubsub", open: openRedisPubSub, ephemeral: true},
	{name: "sqlite", open: openSQL, tables: deedsql.Migrations},
}

func openMemPubSub(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
	return deedmem.OpenPubSub(ctx, url)
}

func openSQL(ctx context.Context, url string, o *deed.Options) (driver.Conn, error) {
	return deedsql.Open(ctx, url, &deedsql.Options{NoCreate: o.NoCreate})
}

func openNATS(ctx context.Context, url string, o *deed.Options) (driver.Conn, error) {
	return deednats.Open(ctx, url, &deednats.Options{NoCreate: o.NoCreate})
}

func openKafka(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
	return deedkafka.Open(ctx, url, nil)
}

func openAMQP(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
	return deedamqp.Open(ctx, url)
}

func openRedis(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
	return deedredis.Open(ctx, url, nil)
}

func openRedisPubSub(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
	return deedredis.OpenPubSub(ctx, url)
}

func openMQTT(ctx context.Context, url string, _ *deed.Options) (driver.Conn, error) {
	return deedmqtt.Open(ctx, url)
}

// Schemes returns the URL schemes that Open knows, sorted.
func Schemes() []string {
	names := make([]string, len(schemes))
	for i, s := range schemes {
		names[i] = s.name
	}
	slices.Sort(names)
	return names
}

// Ephemeral reports whether a URL names an engine that stores nothing, without opening it.
func Ephemeral(url string) bool {
	name, _, _ := strings.Cut(url, ":")
	return slices.ContainsFunc(schemes, func(s scheme) bool { return s.name == name && s.ephemeral })
}

// Open returns a bus on the engine that url names: "sqlite:orders.db", "mem:". A
// nil o means defaults. With o.NoCreate a database that does not exist is an
// error too. o.State names a second engine, for one that keeps no dead letters.
func Open(ctx context.Context, url string, o *deed.Options) (*deed.Bus, error) {
	conn, err := OpenConn(ctx, url, o)
	if err != nil {
		return nil, err
	}
	b, err := deed.New(conn, o)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

// OpenConn is Open without a bus, for programs that speak to the engine itself.
func OpenConn(ctx context.Context, url string, o *deed.Options) (driver.Conn, error) {
	s, err := find(url)
	if err != nil {
		return nil, err
	}
	if o == nil {
		o = &deed.Options{}
	}
	if s.queues && o.State == "" {
		return nil, fmt.Errorf("%s: %w: RabbitMQ has no place for claims, positions and dead letters: name a second engine "+
			"for them by Options.State or --state (sqlite:FILE, postgres://HOST or mysql://HOST)", s.name, driver.ErrRefused)
	}
	conn, err := s.open(ctx, url, o)
	if err != nil || o.State == "" {
		return conn, err
	}
	return withState(ctx, conn, o)
}

// withState adds the engine that Options.State names.
func withState(ctx context.Context, log driver.Conn, o *deed.Options) (driver.Conn, error) {
	alone := *o
	alone.State = ""
	state, err := OpenConn(ctx, o.State, &alone)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state: %w", err), log.Close())
	}
	both, err := driverkit.WithState(log, state)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state: %w", err), log.Close(), state.Close())
	}
	return both, nil
}

// Examine looks at the server that url names, also at one that Open refuses, and tells
// what it is and is not set up to keep. It finds nothing where there is no server.
func Examine(ctx context.Context, url string) ([]driver.Finding, error) {
	s, err := find(url)
	if err != nil || s.examine == nil {
		return nil, err
	}
	return s.examine(ctx, url)
}

// Migrations returns the tables that the database of a URL needs as an SQL script. It
// opens nothing.
func Migrations(url string) (string, error) {
	s, err := find(url)
	if err != nil {
		return "", err
	}
	if s.tables == nil {
		return "", fmt.Errorf("engine: %s: has no tables", s.name)
	}
	return s.tables(url)
}

// find returns the scheme of a URL.
func find(url string) (scheme, error) {
	name, _, ok := strings.Cut(url, ":")
	if !ok {
		return scheme{}, fmt.Errorf("%w: %q has no scheme (want %s, as in sqlite:orders.db)", ErrURL, url, known())
	}
	for _, s := range schemes {
		if s.name == name {
			return s, nil
		}
	}
	// The rest of the URL may hold a password, so it is not repeated.
	return scheme{}, fmt.Errorf("%w: unknown scheme %q (want %s)", ErrURL, name, known())
}

func known() string {
	names := Schemes()
	last := len(names) - 1
	return strings.Join(names[:last], ":, ") + ": or " + names[last] + ":"
}
