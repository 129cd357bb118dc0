package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/kafkatest"
	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/mqtttest"
	"github.com/deedgo/deed/internal/natstest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/rabbittest"
	"github.com/deedgo/deed/internal/redistest"
)

// TestMain lets the system start this test binary again as a service.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; IsService(args) {
		if err := Serve(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Real processes, real files, real kills: the books add up.
func TestBooksAddUp(t *testing.T) {
	t.Parallel()
	booksAddUp(t, "")
}

// The same on Redis, by URL alone. What served once is refused.
func TestBooksAddUpOnRedis(t *testing.T) {
	t.Parallel()
	bus := redistest.Start(t, "appendonly yes").URL()
	booksAddUp(t, bus)
	err := Run(t.Context(), Options{Bus: bus, Dir: t.TempDir(), Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "the bus has a topic orders already") {
		t.Errorf("a second run on it: %v", err)
	}
}

// And on NATS.
func TestBooksAddUpOnNATS(t *testing.T) {
	t.Parallel()
	booksAddUp(t, natstest.Start(t).URL())
}

// And on Postgres.
func TestBooksAddUpOnPostgres(t *testing.T) {
	t.Parallel()
	booksAddUp(t, pgtest.Open(t))
}

// TestBooksAddUpOnMySQL is the same on MariaDB.
func TestBooksAddUpOnMySQL(t *testing.T) {
	t.Parallel()
	booksAddUp(t, mariatest.Open(t))
}

// And on Kafka, which is kfake here, with a second engine for what it has no place for.
func TestBooksAddUpOnKafka(t *testing.T) {
	t.Parallel()
	booksAddUpWith(t, Options{Bus: kafkatest.Start(t).URL(), State: "sqlite:" + t.TempDir() + "/state.db"})
}

// And on RabbitMQ, where the second engine keeps all but the events.
func TestBooksAddUpOnRabbitMQ(t *testing.T) {
	t.Parallel()
	booksAddUpWith(t, Options{Bus: rabbittest.Start(t).URL(), State: "sqlite:" + t.TempDir() + "/state.db"})
}

// Customers who order at a till, which knows only an MQTT broker: a bridge carries their
// orders in and the outcomes out, and is killed on the way, too.
func TestBooksAddUpOverMQTT(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			booksAddUpWith(t, Options{Broker: mqtttest.Start(t).URL() + "?version=" + version},
				"started  edge", "kill -9  edge", "restart  edge",
				"60 = 60       whose outcome the till heard, once")
		})
	}
}

func booksAddUp(t *testing.T, bus string) { booksAddUpWith(t, Options{Bus: bus}) }

// booksAddUpWith runs the system, which has to say certain things beside those that it
// always says.
func booksAddUpWith(t *testing.T, o Options, says ...string) {
	var out bytes.Buffer
	o.Orders, o.Dir, o.Out = 60, t.TempDir(), &out
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range append(says,
		"kill -9  inventory", "restart  inventory", "kill -9  order", "restart  order",
		"60 = 60       in the order database, as ordered",
		"60 = 60       about which exactly one mail went out",
		"60 = 60       with an equal row in the view",
	) {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(out.String(), "\r") {
		t.Error("a bar was drawn on what is no terminal")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// A broker that keeps nothing is refused with the reason, before any service starts.
func TestBrokerWithoutGroupsIsRefused(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Options{Dir: t.TempDir(), Bus: mqtttest.Start(t).URL(), Out: &out})
	if err == nil || !strings.Contains(err.Error(), "mqtt has no groups, retries and dead letters") || out.Len() > 0 {
		t.Errorf("%v, output %q", err, &out)
	}
}

// Whoever stops the system in the middle finds no process left.
func TestNoProcessIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Dir: t.TempDir()}.withDefaults()
	o.Bus = "sqlite:" + o.Dir + "/bus.db"
	s := newServices(o, "http://127.0.0.1:1")
	defer s.killAll()
	if err := s.startAll(ctx); err != nil {
		t.Fatal(err)
	}
	var processes []*process
	for _, name := range allServices {
		processes = append(processes, s.processes[name])
	}
	s.kill(inventoryService)
	if err := s.stopAll(); err != nil {
		t.Errorf("the others did not end well: %v", err)
	}
	for i, p := range processes {
		if p.cmd.ProcessState == nil {
			t.Errorf("%s still runs", allServices[i])
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/order.db", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Orders: 3}, {Dir: dir}} {
		var out bytes.Buffer
		o.Out = &out
		if err := Run(t.Context(), o); err == nil || out.Len() > 0 {
			t.Errorf("%+v: error %v, output %q", o, err, &out)
		}
	}
}
