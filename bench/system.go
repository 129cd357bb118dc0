package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"time"
)

// payloadBytes is the size of an event's data, as all targets are stated.
const payloadBytes = 200

// event is what is sent through a system. A system's codec may add to it.
type event struct {
	key  string
	data []byte
}

// system is something that events can be published to and handled from.
type system struct {
	name string
	// durability says what an accepted event survives, by this system's own settings.
	durability string
	// start opens the system in an empty directory, or one that an earlier start of
	// it left, and handles what comes: handle is called for each event before it is
	// acknowledged, from any goroutine.
	start func(ctx context.Context, dir string, handle func(data []byte)) (*started, error)
}

// started is a system at work.
type started struct {
	// publish returns when the events are accepted.
	publish func(ctx context.Context, events []event) error
	// stop ends it after everything was handled and acknowledged.
	stop func() error
	// serverCPU is the processor time that a server beside this process has used. Nil
	// when there is none.
	serverCPU func() time.Duration
}

// systems are all that can be measured, by name.
func systems() []system {
	return append([]system{
		rawSQLite("raw/sqlite", rawLog),
		rawSQLite("raw/sqlite-columns", rawColumns),
		deedSystem("deed/sqlite", "sqlite", "power", nil),
		deedSystem("deed/mem", "mem", "memory", nil),
		deedSystem("deed/sqlite/json", "sqlite", "power", &deedVariant{codec: codecJSON}),
		deedSystem("deed/sqlite/protobuf", "sqlite", "power", &deedVariant{codec: codecProto}),
		deedSystem("deed/sqlite/window", "sqlite", "power", &deedVariant{window: true}),
		deedSystem("deed/sqlite/grown", "sqlite", "power", &deedVariant{fromEnd: true}),
		natsSystem{"nats", natsUsual, false, false}.raw(),
		natsSystem{"nats/tcp", natsUsual, false, true}.raw(),
		natsSystem{"nats/sync-always", "power", true, false}.raw(),
		natsSystem{"nats/publish", natsUsual, false, true}.publish(),
		natsSystem{"deed/nats", natsUsual, false, true}.deed(nil),
		natsSystem{"deed/nats/publish", natsUsual, false, true}.deed(&deedVariant{publishOnly: true}),
		natsSystem{"watermill/nats", natsUsual, false, true}.on(watermillNATS),
		natsSystem{"deed/nats/sync-always", "power", true, true}.deed(nil),
		watermillChannel("watermill/gochannel"),
	}, slices.Concat(redisSystems(), postgresSystems(), mysqlSystems(), kafkaSystems(), rabbitSystems(), mqttSystems())...)
}

func systemNamed(name string) *system {
	for _, s := range systems() {
		if s.name == name {
			return &s
		}
	}
	return nil
}

const (
	keyCount  = 4096
	dataCount = 1024
)

// feed makes events of random bytes, which compress to nothing, without taking
// time for it: data and keys come from fixed stocks.
type feed struct {
	keys []string
	data [][]byte
}

func newFeed() *feed {
	f := &feed{keys: make([]string, keyCount), data: make([][]byte, dataCount)}
	for i := range f.keys {
		f.keys[i] = "order-" + strconv.Itoa(1_000_000+i)
	}
	for i := range f.data {
		f.data[i] = make([]byte, payloadBytes)
		rand.Read(f.data[i]) // never fails
	}
	return f
}

// batch returns events number first and on.
func (f *feed) batch(first, n int) []event {
	events := make([]event, n)
	for i := range events {
		at := first + i
		events[i] = event{key: f.keys[at%keyCount], data: f.data[at%dataCount]}
	}
	return events
}

// stamped returns event number i with a number in its first bytes.
func (f *feed) stamped(i int, stamp int64) event {
	data := make([]byte, payloadBytes)
	copy(data, f.data[i%dataCount])
	binary.LittleEndian.PutUint64(data, uint64(stamp))
	return event{key: f.keys[i%keyCount], data: data}
}

// stampOf reads what stamped wrote.
func stampOf(data []byte) int64 { return int64(binary.LittleEndian.Uint64(data)) }
