package bridge_test

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/bridge"
	"github.com/deedgo/deed/engine"
)

func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bus, err := engine.Open(ctx, "sqlite:yard.db", &deed.Options{Source: "/yard"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	// [carry]
	var (
		readings = deed.NewTopic("yard.readings", nil)
		commands = deed.NewTopic("yard.commands", nil)
	)
	in := &bridge.In{Broker: "mqtt://localhost", Name: "yard", Filter: "yard/+/state", Topic: readings}
	out := &bridge.Out{Broker: "mqtt://localhost", Name: "yard", Topic: commands,
		To: func(e deed.Event) string { return "yard/" + e.Key + "/set" }}
	if err := bus.Run(ctx, in, out); err != nil {
		log.Fatal(err)
	}
	// [carry]
}
