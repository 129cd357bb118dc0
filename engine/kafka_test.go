package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/kafkatest"
)

// Handlers on Kafka want a second engine, and a bus without one says so at its start.
func TestKafkaWantsState(t *testing.T) {
	url := kafkatest.Start(t).URL()
	bus, err := engine.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	h := deed.OnAny(deed.NewTopic("orders", nil), func(context.Context, deed.Received[[]byte]) error { return nil })
	err = bus.Run(t.Context(), deed.Subscribe("billing", nil, h))
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "--state") {
		t.Errorf("Run is %v, want a refusal that names --state", err)
	}
	for state, want := range map[string]string{
		url:              "cannot keep the state",
		"mem+pubsub:":    "cannot keep the state",
		"nowhere://host": "unknown scheme",
	} {
		_, err := engine.Open(t.Context(), url, &deed.Options{State: state})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %s as the state: %v, want %q in it", state, err, want)
		}
	}
	_, err = engine.Open(t.Context(), "mem:", &deed.Options{State: "mem:state"})
	if !errors.Is(err, driver.ErrRefused) {
		t.Errorf("an engine that keeps its own state took a second one: %v", err)
	}
}
