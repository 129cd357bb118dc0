package driverkit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
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
