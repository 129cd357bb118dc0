// Package system starts the four services as processes, sends them customers, kills
// two of them on the way, and checks afterwards that everything adds up.
package system

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Options configure Run. The zero value is the default.
type Options struct {
	Orders int    // how many are placed; 0 means 300
	Bus    string // URL of the bus; "" means one SQLite file in Dir
	State  string // URL of a second engine, for a bus that keeps no dead letters
	// Broker is the URL of an MQTT broker. With one customers order at a till, which knows
	// only the broker, and a fifth process is the bridge between broker and bus.
	Broker string
	bridge string // its name, another for each run: a broker keeps what the one before left
	// Dir keeps the databases and logs. Empty means a temporary folder, which is
	// removed when everything adds up.
	Dir string
	// Lease is how long a killed service's work waits for it. Zero means 2 s.
	Lease time.Duration
	// Patience is how long nothing may move while there is work left. Zero
	// means a minute.
	Patience time.Duration
	Out      io.Writer // nil means os.Stdout
}

func (o Options) withDefaults() Options {
	if o.Orders == 0 {
		o.Orders = 300
	}
	if o.Lease == 0 {
		o.Lease = 2 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	return o
}

// minOrders is what it takes to have customers before, between and after the kills.
const minOrders = 20

// Run runs the system once. It fails when the reconciliation does not add up, and
// then keeps the folder to look at.
func Run(ctx context.Context, o Options) (err error) {
	o = o.withDefaults()
	if o.Orders < minOrders {
		return fmt.Errorf("orders: %d are too few to kill services in the middle (want %d or more)", o.Orders, minOrders)
	}
	temporary := o.Dir == ""
	if o.Dir, err = makeDir(o.Dir); err != nil {
		return err
	}
	o.bridge = "shop-" + rand.Text()
	if o.Bus == "" {
		o.Bus = "sqlite:" + filepath.Join(o.Dir, "bus.db")
	}
	unfit := unused(ctx, o)
	err = unfit
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil && ctx.Err() != nil {
		err = errors.New("orders: stopped before the books could be compared")
	}
	switch {
	case !temporary:
	case err == nil, unfit != nil, ctx.Err() != nil:
		err = errors.Join(err, os.RemoveAll(o.Dir))
	default:
		err = fmt.Errorf("%w (databases and logs are in %s)", err, o.Dir)
	}
	return err
}

// makeDir creates the folder, and refuses one that has served already: its orders
// would be counted as ours.
func makeDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "deed-orders-")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "order.db")); err == nil {
		return "", fmt.Errorf("orders: %s holds an earlier run (name another folder)", dir)
	}
	return filepath.Abs(dir)
}

func run(ctx context.Context, o Options) (err error) {
	mails, err := startMailAPI()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mails.close()) }()

	along, err := startListener(ctx, o)
	if err != nil {
		return err
	}
	if along != nil {
		defer along.stop() // whatever happens
	}
	till, err := openTill(ctx, o)
	if err != nil {
		return err
	}
	if till != nil {
		defer func() { err = errors.Join(err, till.close()) }()
	}
	services := newServices(o, mails.url)
	defer services.killAll() // whatever happens, no process is left
	if err := services.startAll(ctx); err != nil {
		return err
	}
	if err := awaitGroups(ctx, o); err != nil {
		return err
	}
	stock, err := deliverStock(ctx, services, o.Orders)
	if err != nil {
		return err
	}
	say(o.Out, "started  order, inventory, notification, analytics: 4 processes, each with its own database")
	place := services.place
	if till != nil {
		say(o.Out, "started  edge: between the bus and a till, which knows only the MQTT broker")
		place = till.place
	}

	traffic, err := drive(ctx, o, services, place, newProgress(o.Out, "orders", o.Orders))
	if err != nil {
		return err
	}
	err = waitQuiet(ctx, o, services)
	if err == nil && till != nil {
		err = till.await(ctx, o)
	}
	if err != nil {
		say(o.Out, "not quiet: %v", err) // the table shows what is missing
	}
	if err := services.stopAll(); err != nil {
		return err
	}
	facts, err := audit(ctx, o, along)
	if err != nil {
		return err
	}
	facts.accepted, facts.stock = traffic.accepted, stock
	facts.mails = mails.sent()
	if till != nil {
		facts.heard = till.outcomes()
	}
	return reconcile(o.Out, facts, traffic, mails.repeated())
}

// say writes one line of the story.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "  "+format+"\n", args...)
}
