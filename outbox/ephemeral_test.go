package outbox_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine/deedmem"
	"github.com/deedgo/deed/internal/testdb"
)

// An outbox keeps events so that none is lost; an engine that stores nothing would lose
// them after all.
func TestEphemeralEngineIsRefused(t *testing.T) {
	f := setup(t, testdb.SQLite, nil)
	conn, err := deedmem.OpenPubSub(t.Context(), "mem+pubsub:")
	if err != nil {
		t.Fatal(err)
	}
	bus, err := deed.New(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	_, box := f.open(nil)
	if err := bus.Run(t.Context(), box); !errors.Is(err, errors.ErrUnsupported) ||
		!strings.Contains(err.Error(), "mem+pubsub stores nothing") {
		t.Errorf("relaying to it: %v", err)
	}
}
