// Package edge is the service between the shop's tills, which speak MQTT, and the bus: it
// carries what they order in, and what becomes of the orders out.
package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/bridge"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service"
)

// expiry is how long the broker keeps for a bridge that is away.
const expiry = time.Hour

// Group is the one by which events go out, for a bridge of a name.
func Group(name string) string { return name + "-out" }

// Run is the service: it works until ctx ends. It has no database and no HTTP API; the
// broker at the URL keeps what tills publish while it is away, under the bridge's name.
func Run(ctx context.Context, cfg service.Config, broker, name string) error {
	bus, err := engine.Open(ctx, cfg.Bus, &deed.Options{Source: "/edge", Lease: cfg.Lease, State: cfg.State})
	if err != nil {
		return err
	}
	in := &bridge.In{
		Broker: broker, Name: name, Filter: "tills", Topic: events.Tills, Expiry: expiry,
		Ready: sync.OnceFunc(func() { fmt.Fprintln(cfg.Ready, "ready mqtt") }),
	}
	out := &bridge.Out{Broker: broker, Name: name, Topic: events.Orders}
	return errors.Join(bus.Run(ctx, in, out), bus.Close())
}
