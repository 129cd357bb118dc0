package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/rabbittest"
)

// RabbitMQ wants a second engine for all but the events, and says so before it is asked for
// anything.
func TestRabbitMQWantsState(t *testing.T) {
	for _, url := range []string{"amqp://nobody.invalid", "amqps://user:secret@nobody.invalid"} {
		_, err := engine.Open(t.Context(), url, nil)
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "--state") {
			t.Errorf("without a state: %v, want ErrRefused that names --state", err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
	url := rabbittest.Start(t).URL()
	for _, state := range []string{"mem:state", "mem+pubsub:"} {
		_, err := engine.Open(t.Context(), url, &deed.Options{State: state})
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "cannot keep the state") {
			t.Errorf("with %s: %v, want ErrRefused", state, err)
		}
	}
	bus, err := engine.Open(t.Context(), url, &deed.Options{State: "sqlite:" + t.TempDir() + "/state.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if f := bus.Features(); f.Engine != "amqp" || f.Backlog || !f.SideLog || !f.Lag || f.Durability != driver.Power {
		t.Errorf("its features are %+v", f)
	}
	// What queues do not keep is refused with the way out.
	for _, err := range bus.Read(t.Context(), "orders", nil) {
		wantWayOut(t, "reading without a group", err)
	}
	wantWayOut(t, "a reset", bus.Reset(t.Context(), "billing", "orders", deed.From{}, deed.ResetOptions{}))
	o := &deed.Options{State: "sqlite:" + t.TempDir() + "/state.db"}
	streams, err := engine.Open(t.Context(), url+"?queues=stream", o)
	if err != nil {
		t.Fatal(err)
	}
	defer streams.Close()
	if f := streams.Features(); !f.Backlog || !f.Browse || !f.Reset || f.DensePos || f.Durability != driver.Process {
		t.Errorf("with streams its features are %+v", f)
	}
}

func wantWayOut(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "queues=stream in the URL") {
		t.Errorf("%s on queues: %v, want ErrUnsupported that names queues=stream", what, err)
	}
}
