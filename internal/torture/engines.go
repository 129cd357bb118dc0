package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/kafkatest"
	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/natstest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/rabbittest"
	"github.com/deedgo/deed/internal/redistest"
)

// Engine is what a run can be on.
type Engine struct {
	Name string
	// Frail says that it promises nothing of power cuts, so that it has no data on Config.Disk.
	Frail bool
	// Provide gives a run what it is on: it sets Config.URL, and on servers Config.Server
	// and Network. A server is private, keeps on its disk what it has acknowledged, and ends
	// with t; its databases are on Config.Disk if that is set.
	Provide func(t testing.TB, c *Config)
}

// Engines are those that the command and the tests know.
var Engines = []Engine{
	{Name: "sqlite", Provide: func(testing.TB, *Config) {}}, // what a run is on by itself
	{Name: "postgres", Provide: func(t testing.TB, c *Config) {
		s := pgtest.StartIn(t, c.onDisk("postgres"), pgtest.Durable)
		bus, effects := c.databases(func() string { return s.Database(t) })
		c.onServer(s, s.URL(bus), s.URL(effects))
	}},
	{Name: "mysql", Provide: func(t testing.TB, c *Config) {
		s := mariatest.StartIn(t, c.onDisk("mariadb"), mariatest.Durable)
		bus, effects := c.databases(func() string { return s.Database(t) })
		c.onServer(s, s.URL(bus), "mysql:"+s.DSN(effects))
	}},
	{Name: "redis", Provide: func(t testing.TB, c *Config) {
		settings := []string{"appendonly yes", "appendfsync always"}
		if dir := c.onDisk("redis"); dir != "" {
			settings = append(settings, fmt.Sprintf("dir %q", dir))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		s := redistest.Start(t, settings...)
		c.onServer(s, s.URL(), "")
		c.Whole = true // it refuses to start with an end that has a hole
	}},
	{Name: "nats", Provide: func(t testing.TB, c *Config) {
		s := natstest.StartIn(t, c.onDisk("nats"), "sync_interval: always")
		c.onServer(s, s.URL()+"?monitor="+s.MonitorURL(), "")
	}},
	{Name: "kafka", Frail: true, Provide: func(t testing.TB, c *Config) {
		s, state := kafkatest.Start(t), pgtest.Start(t, pgtest.Durable)
		bus, effects := c.databases(func() string { return state.Database(t) })
		c.onServer(s, s.URL()+"?tunnel=true", state.URL(effects)) // through the proxies of the run
		c.State, c.StateServer = state.URL(bus), state
	}},
	{Name: "rabbitmq", Frail: true, Provide: func(t testing.TB, c *Config) { // no power cuts are tried on it
		c.onRabbitMQ(t, rabbittest.Start(t), "")
	}},
	{Name: "rabbitmq-streams", Frail: true, Provide: func(t testing.TB, c *Config) {
		s := rabbittest.Start(t)
		s.NotedStreams()
		c.onRabbitMQ(t, s, "&queues=stream")
	}},
}

func (c *Config) onRabbitMQ(t testing.TB, s *rabbittest.Server, parameters string) {
	state := pgtest.Start(t, pgtest.Durable)
	bus, effects := c.databases(func() string { return state.Database(t) })
	c.onServer(s, s.URL()+"?heartbeat=2s"+parameters, state.URL(effects))
	c.State, c.StateServer = state.URL(bus), state
}

// Provide gives a run what the named engine is on, see [Engine].
func (c *Config) Provide(t testing.TB, engine string) {
	t.Helper()
	i := slices.IndexFunc(Engines, func(e Engine) bool { return e.Name == engine })
	if i < 0 {
		t.Fatalf("there is no engine %q (want one of %s)", engine, strings.Join(EngineNames(), ", "))
	}
	if c.Disk != nil && Engines[i].Frail {
		t.Fatalf("%s promises nothing of power cuts", engine)
	}
	c.Engine = engine
	Engines[i].Provide(t, c)
}

// EngineNames lists the names of Engines.
func EngineNames() []string { return names(func(Engine) bool { return true }) }

// SturdyNames lists those that promise to survive power cuts.
func SturdyNames() []string { return names(func(e Engine) bool { return !e.Frail }) }

func names(of func(Engine) bool) (names []string) {
	for _, e := range Engines {
		if of(e) {
			names = append(names, e.Name)
		}
	}
	return names
}

// databases makes one for the bus and one for effects, or one for both.
func (c *Config) databases(make func() string) (bus, effects string) {
	if bus = make(); c.Together {
		return bus, bus
	}
	return bus, make()
}

// onDisk is a directory of Config.Disk, "" without one.
func (c *Config) onDisk(name string) string {
	if c.Disk == nil {
		return ""
	}
	return filepath.Join(c.Disk.Path(), name)
}

// onServer says where the bus and the consumers' effects are; effects may be "", a file.
func (c *Config) onServer(s Server, url, effects string) {
	c.Server, c.URL, c.Effects, c.Network = s, url, effects, true
}
