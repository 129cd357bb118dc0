package driverkit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/engine/deedsql"
)

// promising is an engine with other features than it has.
type promising struct {
	driver.Conn
	features driver.Features
}

func (c promising) Features() driver.Features { return c.features }

func (c promising) Unwrap() driver.Conn { return c.Conn }

// What does not go together is refused, in words.
func TestStateRefused(t *testing.T) {
	log, state := memory(t, "log"), memory(t, "state")
	without := func(change func(*driver.Features)) driver.Conn {
		f := state.Features()
		change(&f)
		return promising{state, f}
	}
	for want, c := range map[string]struct{ log, state driver.Conn }{
		"keeps its own state": {log, state},
		"no groups": {
			logOnly{log, func(f *driver.Features) { f.Groups = false }}, state,
		},
		"log has no groups that": {
			logOnly{log, func(f *driver.Features) { f.Fenced = false }}, state,
		},
		"mem cannot keep the state of log": {
			logOnly{Conn: log}, without(func(f *driver.Features) { f.SideLog = false }),
		},
		"cannot keep the state of log": {
			logOnly{Conn: log}, without(func(f *driver.Features) { f.Records = false }),
		},
		"want sqlite, postgres or mysql": {
			logOnly{Conn: log}, without(func(f *driver.Features) { f.DensePos = false }),
		},
		"do not go together": {logOnly{Conn: log}, struct{ driver.Conn }{state}}, // it hides what it has
	} {
		_, err := driverkit.WithState(c.log, c.state)
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrRefused with %q", err, want)
		}
	}
}

// The features of both are those of the weaker.
func TestStateFeatures(t *testing.T) {
	weak := promising{memory(t, "state"), memory(t, "state").Features()}
	strong := logOnly{memory(t, "log"), func(f *driver.Features) {
		f.Durability, f.Setting, f.MultiProcess = driver.Quorum, "", true
	}}
	c, err := driverkit.WithState(strong, weak)
	if err != nil {
		t.Fatal(err)
	}
	f := c.Features()
	if !f.SideLog || !f.Records || f.MultiProcess || f.Durability != driver.Memory || f.Setting == "" {
		t.Errorf("%+v, want side log and records, and the state's durability, setting and processes", f)
	}
}

// waiting and keeping are feeders with queues and with logs, without the server.
type (
	waiting struct {
		driverkit.Feeder
		driverkit.Queues
		features driver.Features
	}
	keeping struct {
		driverkit.Feeder
		driverkit.Logs
		features driver.Features
	}
)

func (w waiting) Features() driver.Features          { return w.features }
func (k keeping) Features() driver.Features          { return k.features }
func (w waiting) Space() (string, map[string]string) { return "log", nil }
func (k keeping) Space() (string, map[string]string) { return "log", nil }

// A feeder that promises what it does not keep is refused, and one that forgets has nothing to
// read again.
func TestFeederRefused(t *testing.T) {
	state, err := deedsql.Open(t.Context(), "sqlite:"+t.TempDir()+"/state.db", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	none, all := driver.Features{Engine: "log"}, driver.Features{Engine: "log", Backlog: true, Browse: true, Reset: true}
	for what, log := range map[string]driver.Conn{
		"a feeder alone":             struct{ driverkit.Feeder }{waiting{features: none}},
		"queues that are read again": waiting{features: all},
		"logs that forget":           keeping{features: none},
	} {
		if _, err := driverkit.WithState(log, state); !errors.Is(err, driver.ErrRefused) ||
			!strings.Contains(err.Error(), "neither queues nor logs") {
			t.Errorf("%s: %v, want ErrRefused", what, err)
		}
	}
	queues, err := driverkit.WithState(waiting{features: none}, state)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := driverkit.WithState(keeping{features: all}, state)
	if err != nil {
		t.Fatal(err)
	}
	_, read := driver.As[driver.Browser](queues)
	_, reset := driver.As[driver.Resetter](queues)
	if read || reset {
		t.Errorf("queues can be read again %v, and their groups reset %v", read, reset)
	}
	_, read = driver.As[driver.Browser](logs)
	_, reset = driver.As[driver.Resetter](logs)
	if f := logs.Features(); !read || !reset || !f.Groups || !f.Fenced || !f.SideLog {
		t.Errorf("logs can be read again %v, and their groups reset %v; features %+v", read, reset, f)
	}
}
