// Command orders runs the reference system: four services as processes of their own,
// each with its own database and nothing shared but events; two of them are killed
// on the way, and in the end the books have to add up.
//
//	go run ./examples/orders
//	go run ./examples/orders -orders 2000 -dir /tmp/orders
//	go run ./examples/orders -bus redis://localhost:6379
//	go run ./examples/orders -bus kafka://localhost:9092 -state sqlite:state.db
//	go run ./examples/orders -bus amqp://localhost -state sqlite:state.db
//	go run ./examples/orders -bus 'amqp://localhost?queues=stream' -state sqlite:state.db
//	go run ./examples/orders -broker mqtt://localhost
//	go run ./examples/orders service order -bus sqlite:bus.db -listen 127.0.0.1:8080
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/deedgo/deed/examples/orders/system"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if system.IsService(args) {
		return system.Serve(args)
	}
	var o system.Options
	flags := flag.NewFlagSet("orders", flag.ExitOnError)
	flags.IntVar(&o.Orders, "orders", 300, "how many orders customers place")
	flags.StringVar(&o.Bus, "bus", "", "`URL` of the bus (default one SQLite file in the folder)")
	flags.StringVar(&o.State, "state", "", "`URL` of a second engine, for a bus that keeps no dead letters")
	flags.StringVar(&o.Broker, "broker", "", "`URL` of an MQTT broker, for customers who order at a till")
	flags.StringVar(&o.Dir, "dir", "", "`folder` that keeps databases and logs (default a temporary one)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("orders: %q: want no argument, or service NAME", flags.Args())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return system.Run(ctx, o)
}
