package system

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/deedgo/deed/examples/orders/analytics"
	"github.com/deedgo/deed/examples/orders/edge"
	"github.com/deedgo/deed/examples/orders/inventory"
	"github.com/deedgo/deed/examples/orders/notification"
	"github.com/deedgo/deed/examples/orders/order"
	"github.com/deedgo/deed/examples/orders/service"
)

// IsService reports whether a program's arguments, its name left off, ask for one
// service. Run starts its own program with such arguments.
func IsService(args []string) bool { return len(args) > 0 && args[0] == "service" }

// Serve is the main of one service: it works until it is told to stop, by a signal
// or, on a leash, by the end of standard input.
func Serve(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("orders: service: which one? (want one of %v)", allServices)
	}
	name := args[1]
	flags := flag.NewFlagSet("service "+name, flag.ContinueOnError)
	cfg := service.Config{Ready: os.Stdout}
	flags.StringVar(&cfg.Bus, "bus", "sqlite:bus.db", "`URL` of the bus")
	flags.StringVar(&cfg.State, "state", "", "`URL` of a second engine, for a bus that keeps no dead letters")
	flags.StringVar(&cfg.Dir, "dir", ".", "`folder` of the service's own database")
	flags.StringVar(&cfg.Listen, "listen", "", "`address` of the HTTP API (default a free port)")
	flags.DurationVar(&cfg.Lease, "lease", 0, "how long others wait for a silent service")
	mail := flags.String("mail", "", "`URL` of the mail service (notification)")
	broker := flags.String("broker", "", "`URL` of the MQTT broker (edge)")
	bridge := flags.String("bridge", "shop", "`name` of the bridge at the broker (edge)")
	leash := flags.Bool("leash", false, "stop when standard input ends")
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *leash {
		go func() { // ends with the process
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	switch name {
	case orderService:
		return order.Run(ctx, cfg)
	case inventoryService:
		return inventory.Run(ctx, cfg)
	case notificationService:
		return notification.Run(ctx, cfg, *mail)
	case analyticsService:
		return analytics.Run(ctx, cfg)
	case edgeService:
		return edge.Run(ctx, cfg, *broker, *bridge)
	}
	return fmt.Errorf("orders: service %q is unknown (want one of %v, or %s)", name, allServices, edgeService)
}
