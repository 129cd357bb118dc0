package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/engine/deedamqp"
	"github.com/deedgo/deed/engine/deedkafka"
	"github.com/deedgo/deed/engine/deedmqtt"
	"github.com/deedgo/deed/engine/deednats"
	"github.com/deedgo/deed/engine/deedredis"
	"github.com/deedgo/deed/engine/deedsql"
)

// opened is an engine with its promises.
type opened struct {
	url      string // as a user writes it
	features driver.Features
	lacks    map[string]string // by check, why it is not run
	has      map[string]bool   // by interface of package driver
}

// open asks every engine what it promises. Files are in dir; an engine that needs a
// server says what it promises on one that is set up to keep the most.
func open(ctx context.Context, dir string) ([]opened, error) {
	var out []opened
	for _, e := range []struct{ shown, url string }{
		{"mem:", "mem:"},
		{"mem+pubsub:", "mem+pubsub:"},
		{"sqlite:FILE", "sqlite:" + filepath.Join(dir, "engines.db")},
	} {
		conn, err := engine.OpenConn(ctx, e.url, nil)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", e.shown, err)
		}
		out = append(out, ask(e.shown, conn))
		if err := conn.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", e.shown, err)
		}
	}
	kafka := unopened{new(deedkafka.Conn), deedkafka.Promise()}
	state, err := engine.OpenConn(ctx, "sqlite:"+filepath.Join(dir, "state.db"), nil)
	if err != nil {
		return nil, fmt.Errorf("open a state: %w", err)
	}
	defer state.Close()
	both, err := driverkit.WithState(kafka, state)
	if err != nil {
		return nil, err
	}
	rabbit, err := driverkit.WithState(unopened{new(deedamqp.Conn), deedamqp.Promise()}, state)
	if err != nil {
		return nil, err
	}
	streams, err := driverkit.WithState(unopened{new(deedamqp.Streams), deedamqp.PromiseStreams()}, state)
	if err != nil {
		return nil, err
	}
	return append(out,
		ask("postgres://HOST", unopened{new(deedsql.Conn), deedsql.PostgresPromise()}),
		ask("mysql://HOST", unopened{new(deedsql.Conn), deedsql.MySQLPromise()}),
		ask("redis://HOST", unopened{new(deedredis.Conn), deedredis.Promise()}),
		ask("nats://HOST", unopened{new(deednats.Conn), deednats.Promise()}),
		ask("redis+pubsub://HOST", &deedredis.PubSub{}),
		ask("kafka://HOST", kafka), ask("kafka://HOST --state sqlite:FILE", both),
		ask("amqp://HOST --state sqlite:FILE", rabbit), ask("amqp://HOST?queues=stream --state sqlite:FILE", streams),
		ask("mqtt://HOST", &deedmqtt.Conn{})), nil
}

func ask(shown string, conn driver.Conn) opened {
	o := opened{shown, conn.Features(), make(map[string]string), make(map[string]bool)}
	for _, c := range drivertest.Checks() {
		o.lacks[c.Name] = c.Lacks(conn)
	}
	for _, c := range capabilities {
		o.has[c.name] = c.of(conn)
	}
	return o
}

// capabilities are the optional interfaces of package driver.
var capabilities = []struct {
	name, gives string
	of          func(driver.Conn) bool
}{
	{"Topics", "topics are created, described and deleted", has[driver.Topics]},
	{"Groups", "groups are listed, paused and deleted, with their lag", has[driver.Groups]},
	{"Resetter", "a group is set back", has[driver.Resetter]},
	{"Browser", "events are read without a group", has[driver.Browser]},
	{"SideLog", "parked events and dead letters are kept", has[driver.SideLog]},
	{"Letters", "dead letters are listed, redriven, edited and discarded", has[driver.Letters]},
	{"Sweeper", "retention is run", has[driver.Sweeper]},
	{"Records", "small documents are kept", has[driver.Records]},
	{"Streams", "events are appended to streams", has[driver.Streams]},
	{"Patterns", "a pattern is subscribed to", has[driver.Patterns]},
	{"Joint", "a handler's transaction settles its event", has[driver.Joint]},
	{"Intake", "events are published in a service's transaction", has[driver.Intake]},
}

func has[T any](c driver.Conn) bool {
	_, ok := driver.As[T](c)
	return ok
}

// unopened is an engine without its server: of its connection only the type is looked
// at, for what it implements.
type unopened struct {
	driver.Conn
	features driver.Features
}

func (u unopened) Features() driver.Features { return u.features }

func (u unopened) Unwrap() driver.Conn { return u.Conn }

// promise is a row of the first table.
type promise struct {
	field string // of driver.Features, so that a test notices one that is missing
	text  string
	cell  func(driver.Features) string
}

var promises = []promise{
	{"Durability", "An accepted event survives", surviving},
	{"KeyOrder", "Events of one key come in publish order", yes(func(f driver.Features) bool { return f.KeyOrder })},
	{"Groups", "Members of a group share a topic", yes(func(f driver.Features) bool { return f.Groups })},
	{"Backlog", "A new group gets what was published before it", yes(func(f driver.Features) bool { return f.Backlog })},
	{"Fenced", "A member that lost a partition cannot settle it", yes(func(f driver.Features) bool { return f.Fenced })},
	{"DensePos", "Positions count 1, 2, 3 … without holes", yes(func(f driver.Features) bool { return f.DensePos })},
	{"Sequence", "A publisher's own retries never duplicate", yes(func(f driver.Features) bool { return f.Sequence })},
	{"Dedupe", "A topic may have an id window", yes(func(f driver.Features) bool { return f.Dedupe })},
	{"SideLog", "Parked events and dead letters are kept", yes(func(f driver.Features) bool { return f.SideLog })},
	{"Lag", "Lag is known in events and seconds", yes(func(f driver.Features) bool { return f.Lag })},
	{"Browse", "Events can be read without a group, and again", yes(func(f driver.Features) bool { return f.Browse })},
	{"Pack", "A topic may store batches as one entry each", yes(func(f driver.Features) bool { return f.Pack })},
	{"Streams", "A topic may be of streams: events are appended with an expected version",
		yes(func(f driver.Features) bool { return f.Streams })},
	{"Records", "Small documents are kept, each with a version", yes(func(f driver.Features) bool { return f.Records })},
	{"Delay", "An event can be published for later", yes(func(f driver.Features) bool { return f.Delay })},
	{"Retention", "Old events go, within the topic's bounds and never before their groups",
		yes(func(f driver.Features) bool { return f.Retention })},
	{"Reset", "A group can be set back, and replays are told apart", yes(func(f driver.Features) bool { return f.Reset })},
	{"Ephemeral", "Nothing is stored: whoever listens hears each event once at most",
		yes(func(f driver.Features) bool { return f.Ephemeral })},
	{"Patterns", "A subscription may be to all topics that match a pattern",
		yes(func(f driver.Features) bool { return f.Patterns })},
	{"MultiProcess", "Several processes share it", yes(func(f driver.Features) bool { return f.MultiProcess })},
	{"Flights", "Publish calls that are in flight at once", flights},
	{"MaxEventBytes", "Largest event", func(f driver.Features) string { return size(int64(f.MaxEventBytes)) }},
	{"MaxTopicBytes", "Most data of a topic that does not say",
		func(f driver.Features) string { return size(f.MaxTopicBytes) }},
}

var survives = map[driver.Class]string{
	driver.Memory:  "nothing: it ends with the process",
	driver.Process: "kill -9 of every process",
	driver.Power:   "a power cut",
	driver.Quorum:  "the loss of a minority of nodes",
}

func surviving(f driver.Features) string {
	if f.Ephemeral {
		return "nothing: it is not stored"
	}
	return survives[f.Durability]
}

func yes(promised func(driver.Features) bool) func(driver.Features) string {
	return func(f driver.Features) string {
		if promised(f) {
			return "yes"
		}
		return "–"
	}
}

func flights(f driver.Features) string { return strconv.Itoa(max(f.Flights, 1)) }

func size(n int64) string {
	switch {
	case n == 0:
		return "no limit of its own"
	case n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

// document writes docs/engines.md.
func document(engines []opened) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, opening)
	head(&b, "Promise", engines)
	for _, p := range promises {
		row(&b, p.text, engines, func(e opened) string { return p.cell(e.features) })
	}
	fmt.Fprint(&b, interfaces)
	head(&b, "Interface | What it is for", engines)
	for _, c := range capabilities {
		row(&b, fmt.Sprintf("`%s` | %s", c.name, c.gives), engines, func(e opened) string {
			if e.has[c.name] {
				return "yes"
			}
			return "–"
		})
	}
	fmt.Fprint(&b, middle)
	head(&b, "Check | What is promised | Why it matters", engines)
	for _, c := range drivertest.Checks() {
		text := fmt.Sprintf("`%s` | %s | %s", c.Name, c.Promise, c.Why)
		row(&b, text, engines, func(e opened) string { return cmp.Or(e.lacks[c.Name], "runs") })
	}
	return b.Bytes()
}

func head(b *bytes.Buffer, first string, engines []opened) {
	line := "| " + first + " |"
	for _, e := range engines {
		line += " `" + e.url + "` |"
	}
	fmt.Fprintln(b, line)
	for _, c := range line {
		if c == '|' {
			fmt.Fprint(b, "|---")
		}
	}
	b.Truncate(b.Len() - len("---"))
	fmt.Fprintln(b)
}

func row(b *bytes.Buffer, first string, engines []opened, cell func(opened) string) {
	fmt.Fprintf(b, "| %s |", first)
	for _, e := range engines {
		fmt.Fprintf(b, " %s |", cell(e))
	}
	fmt.Fprintln(b)
}

const opening = `# Engines

<!-- Written by "go run ./internal/enginesdoc" from what the engines say of themselves. Do not edit. -->

An engine is where topics live. The same program runs on any of them by changing one URL. What an engine promises, it
keeps as it is configured; what it does not promise is refused when a program starts, not when the first event is lost.
[Guarantees](guarantees.md) says what the promises mean.

`

const interfaces = "\n" +
	"`mem:` is for tests and for trying things out: a store in the memory of one process. `mem:NAME` names one that\n" +
	"several parts of the process share. `sqlite:FILE` is the default: one file, several processes, no server.\n" +
	"`postgres://HOST` is tables in a database of a Postgres server, whose default settings the column shows, and\n" +
	"[the Postgres guide](guides/postgres.md) what less means. `mysql://HOST` is the same on MySQL or MariaDB: see\n" +
	"[the MySQL guide](guides/mysql.md).\n" +
	"`redis://HOST` is Redis Streams, `rediss://HOST` the same with TLS, on one server, behind sentinels, or on a\n" +
	"cluster; the column shows a server with `appendfsync always`, and [the Redis guide](guides/redis.md) what less\n" +
	"means.\n" +
	"`nats://HOST` is NATS JetStream as a log; the column shows a cluster with `sync_interval: always` and three\n" +
	"replicas, and [the NATS guide](guides/nats.md) what less means.\n" +
	"`redis+pubsub://HOST` announces over the channels of a Redis server or cluster, and `mem+pubsub:` within one\n" +
	"process, for tests: see [Announcements](guides/pubsub.md). `mqtt://HOST` announces through an MQTT broker, and\n" +
	"what devices publish there is carried into the other engines: see [MQTT](guides/mqtt.md).\n" +
	"`kafka://HOST` is Apache Kafka. It has no place for dead letters, so handlers need a second engine beside it:\n" +
	"see [the Kafka guide](guides/kafka.md), also for what a cluster of less than three replicas keeps. Its column is\n" +
	"checked on kfake, a Kafka in Go, and not yet on a Kafka of the Apache project.\n" +
	"`amqp://HOST` is RabbitMQ, `amqps://HOST` the same with TLS. It is queues and nothing else, so it wants a\n" +
	"second engine for all: see [the RabbitMQ guide](guides/rabbitmq.md), also for `queues=stream`, which keeps what\n" +
	"was handled.\n" +
	`
## What the engines implement

Everything beyond publishing and subscribing is a small interface of package driver.
[Write an engine](engine-authors.md) tells what each takes.

`

const middle = `
## How the promises are checked

Package drivertest holds these checks, which the tests of every engine run. "deed check URL" runs them against an engine
of yours, on topics that it deletes afterwards. A check that an engine does not owe says which promise it lacks.

`
