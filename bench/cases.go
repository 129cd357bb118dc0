package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchCase is one row of the result: what is asked for, and what was measured in
// each round.
type benchCase struct {
	Name    string   `json:"name"` // unique
	Request request  `json:"request"`
	Samples []sample `json:"samples"`
	Failed  []string `json:"failed,omitempty"`

	grown bool // the log holds -grow events before
}

// Rates of the open loop: a quiet service, and two million events a minute.
const (
	rateQuiet = 100
	rateBusy  = 33_333
)

// cases lists what is measured. The number of events is such that a case takes one
// or two seconds on a small machine.
func cases(s *settings) []*benchCase {
	var all []*benchCase
	closed := func(system string, publishers, batch, events int) {
		all = append(all, &benchCase{
			Name:    fmt.Sprintf("%s %dx%d", system, publishers, batch),
			Request: request{System: system, Publishers: publishers, Batch: batch, Events: events},
			grown:   system == systemGrown,
		})
	}
	closed("raw/sqlite", 1, 1000, 300_000)
	closed("raw/sqlite-columns", 1, 1000, 300_000)
	closed("deed/sqlite", 8, 256, 200_000)
	closed("deed/sqlite", 8, 64, 150_000)
	closed("deed/sqlite", 64, 1, 30_000)
	closed("deed/sqlite/json", 8, 256, 150_000)
	closed("deed/sqlite/protobuf", 8, 256, 150_000)
	closed("deed/sqlite/window", 8, 256, 100_000)
	if s.grow > 0 {
		closed(systemGrown, 8, 256, 150_000)
	}
	closed("deed/mem", 8, 256, 500_000)
	closed("deed/mem", 64, 1, 200_000)
	brokers(closed)
	closed("watermill/gochannel", 8, 256, 150_000)
	closed("watermill/gochannel", 64, 1, 150_000)
	for _, mode := range redisModes {
		closed("raw/redis"+mode.name, 8, 256, 400_000)
		closed("deed/redis"+mode.name, 8, 256, 300_000)
		closed("deed/redis-packed"+mode.name, 8, 256, 400_000)
	}
	closed("deed/redis", 64, 1, 100_000)
	closed("deed/redis-window", 8, 256, 100_000)
	closed("raw/postgres", 4, 1000, 300_000)
	closed("raw/postgres-copy", 4, 1000, 300_000)
	closed("deed/postgres", 8, 256, 150_000)
	closed("deed/postgres", 64, 1, 20_000)
	closed("watermill/sql", 8, 100, 60_000)
	closed("river", 2, 500, 20_000)
	closed("raw/mysql", 4, 1000, 150_000)
	closed("deed/mysql", 8, 256, 100_000)
	closed("deed/mysql", 64, 1, 20_000)
	closed("naive/redis", 8, 256, 20_000)
	closed("watermill/redisstream", 32, 64, 20_000)
	closed("asynq", 32, 64, 20_000)
	for _, rate := range []int{rateQuiet, rateBusy} {
		seconds := 4.0
		if rate == rateBusy {
			seconds = 2
		}
		for _, system := range []string{
			"deed/sqlite", "deed/mem", "nats", "nats/sync-always", "deed/nats",
			"watermill/gochannel", "deed/redis", "deed/redis-packed", "bare/redis", "naive/redis",
			"watermill/redisstream", "asynq", "deed/postgres", "watermill/sql", "river",
			"deed/mysql",
		} {
			all = append(all, &benchCase{
				Name:    fmt.Sprintf("%s at %d/s", system, rate),
				Request: request{System: system, Rate: rate, Seconds: seconds},
			})
		}
	}
	return pick(all, s)
}

// brokers are the cases on NATS and Kafka.
func brokers(closed func(system string, publishers, batch, events int)) {
	closed("nats", 2, 500, 100_000)
	closed("nats", 64, 1, 50_000)
	closed("nats/tcp", 2, 500, 100_000)
	closed("nats/sync-always", 2, 500, 4_000)
	closed("deed/nats", 8, 256, 150_000)
	closed("deed/nats", 64, 1, 30_000)
	closed("nats/publish", 2, 500, 100_000)
	closed("deed/nats/publish", 8, 256, 150_000)
	closed("watermill/nats", 32, 64, 20_000)
	closed("raw/kafka", 8, 256, 150_000)
	closed("raw/kafka/publish", 8, 256, 150_000)
	closed("deed/kafka", 8, 256, 150_000)
	closed("deed/kafka/publish", 8, 256, 150_000)
	closed("raw/kafka", 64, 1, 30_000)
	closed("deed/kafka", 64, 1, 30_000)
	closed("watermill/kafka", 32, 64, 20_000)
	closed("raw/rabbitmq", 8, 256, 50_000)
	closed("raw/rabbitmq/publish", 8, 256, 50_000)
	closed("deed/rabbitmq", 8, 256, 50_000)
	closed("deed/rabbitmq/publish", 8, 256, 50_000)
	closed("raw/rabbitmq-streams", 8, 256, 50_000)
	closed("raw/rabbitmq-streams/publish", 8, 256, 50_000)
	closed("deed/rabbitmq-streams", 8, 256, 50_000)
	closed("deed/rabbitmq-streams/publish", 8, 256, 50_000)
	closed("watermill/rabbitmq", 32, 64, 10_000)
	closed("raw/rabbitmq", 64, 1, 10_000)
	closed("deed/rabbitmq", 64, 1, 10_000)
	closed("deed/nats/sync-always", 8, 256, 60_000)
	closed("raw/mqtt", 8, 256, 60_000)
	closed("raw/mqtt/publish", 8, 256, 60_000)
	closed("deed/mqtt", 8, 256, 60_000)
	closed("deed/mqtt/publish", 8, 256, 60_000)
	closed("raw/mqtt3", 8, 256, 60_000)
	closed("raw/mqtt3/publish", 8, 256, 60_000)
	closed("deed/mqtt3", 8, 256, 60_000)
	closed("deed/mqtt3/publish", 8, 256, 60_000)
}

// pick leaves out what -only does not ask for. For -quick it keeps one case of each system
// under load and one of each rate, and shrinks them.
func pick(all []*benchCase, s *settings) []*benchCase {
	var picked []*benchCase
	seen := make(map[string]bool)
	for _, c := range all {
		named := func(part string) bool { return strings.Contains(c.Name, part) }
		if !slices.ContainsFunc(strings.Split(s.only, ","), named) {
			continue
		}
		is := c.Request.System
		if c.Request.Rate > 0 {
			is = fmt.Sprint(c.Request.Rate)
		}
		if s.quick && seen[is] {
			continue
		}
		seen[is] = true
		if s.quick {
			c.Request.Events = min(c.Request.Events, max(2000, c.Request.Events/50))
			c.Request.Seconds /= 8
		}
		picked = append(picked, c)
	}
	return picked
}

// caseLimit is how long one sample may take.
const caseLimit = 5 * time.Minute

// measure takes one sample of a case in a directory of its own. A case that fails
// does not end the run: the others' numbers stand.
func (c *benchCase) measure(ctx context.Context, s *settings, dir string) error {
	r := c.Request
	if c.grown {
		r.Dir = grownDir(dir)
	} else {
		var err error
		if r.Dir, err = os.MkdirTemp(dir, "case-"); err != nil {
			return err
		}
		defer os.RemoveAll(r.Dir)
	}
	profile := ""
	if s.profile != "" && len(c.Samples) == 0 {
		profile = s.profile + strings.NewReplacer("/", "-", " ", "-").Replace(c.Name)
	}
	limited, cancel := context.WithTimeout(ctx, caseLimit)
	defer cancel()
	got, err := ask(limited, r, profile)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.Failed = append(c.Failed, err.Error())
		return nil
	}
	c.Samples = append(c.Samples, got)
	return nil
}

// systemGrown is deed on a log that holds many events already.
const systemGrown = "deed/sqlite/grown"

func grownDir(dir string) string { return filepath.Join(dir, "grown") }

// grow fills the log of the growth case.
func grow(ctx context.Context, s *settings, dir string) error {
	if err := os.Mkdir(grownDir(dir), 0o755); err != nil {
		return err
	}
	_, err := ask(ctx, request{System: systemGrown, Dir: grownDir(dir), Task: taskFill, Events: s.grow}, "")
	return err
}
