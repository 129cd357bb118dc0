package deed

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// Class is what an accepted event survives; see [Options.Durability].
type Class = driver.Class

// The durability classes, weakest first.
const (
	Memory  = driver.Memory
	Process = driver.Process
	Power   = driver.Power
	Quorum  = driver.Quorum
)

// Options configure a Bus. The zero value is the default.
type Options struct {
	// Source is the CloudEvents source of events published without one: a
	// URI-reference that names the service, "/orders". Empty means that every
	// draft must bring its own.
	Source string
	// Durability is what accepted events have to survive. A bus on an engine that
	// keeps less refuses to start and names the setting to change. Zero accepts
	// what the engine has, and logs it once.
	Durability Class
	// NoCreate refuses to create topics: publishing to an absent one is an error.
	NoCreate bool
	// State is the URL of a second engine, which keeps claims, parked events, dead letters
	// and records for one that has no place for them, as Kafka: "sqlite:state.db",
	// "postgres://HOST/DB". Package engine opens it; New takes a connection as it is.
	State string
	// Lease is how long a member that went silent keeps its partitions. Zero means
	// 10 s. It is renewed three times as often.
	Lease time.Duration
	// Drain is how long a stopping Run waits for handlers before it cancels them.
	// Zero means 30 s.
	Drain time.Duration
	// MaxEventBytes bounds an event's data. Zero means 1 MiB.
	MaxEventBytes int
	// Middleware wraps every handler of every subscription, the first outermost.
	Middleware []Middleware
	// Logger hears what an operator should know. Nil means slog.Default.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.Drain == 0 {
		o.Drain = 30 * time.Second
	}
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = 1 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (o Options) validate(f driver.Features) error {
	var errs []error
	if o.Lease < 100*time.Millisecond {
		errs = append(errs, fmt.Errorf("Options.Lease is %v (want at least 100ms)", o.Lease))
	}
	if o.Drain < 0 {
		errs = append(errs, fmt.Errorf("Options.Drain is %v (want 0 or more)", o.Drain))
	}
	if o.MaxEventBytes < 0 || f.MaxEventBytes > 0 && o.MaxEventBytes > f.MaxEventBytes {
		errs = append(errs, fmt.Errorf("Options.MaxEventBytes is %d (%s takes at most %d)",
			o.MaxEventBytes, f.Engine, f.MaxEventBytes))
	}
	if o.Durability > f.Durability {
		err := fmt.Errorf("Options.Durability asks for %v, %s keeps %v", o.Durability, f.Engine, f.Durability)
		if f.Setting != "" {
			err = fmt.Errorf("%w (%s)", err, f.Setting)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Bus is a handle on an engine: it publishes events and runs subscriptions. Its
// methods are safe for concurrent use.
type Bus struct {
	conn     driver.Conn
	features driver.Features
	opts     Options
	log      *slog.Logger

	// suspects lets one suspect event run at a time in all of the bus's groups.
	suspects sync.Mutex

	topics    topicCache
	publisher *publisher
	closeOnce sync.Once
	closeErr  error
}

// New returns a bus on an open engine, which it owns from then on: Close closes
// it. Package engine opens engines by URL.
func New(conn driver.Conn, opts *Options) (*Bus, error) {
	if opts == nil {
		opts = &Options{}
	}
	b := &Bus{conn: conn, features: conn.Features(), opts: opts.withDefaults()}
	b.log = b.opts.Logger
	if err := b.opts.validate(b.features); err != nil {
		return nil, fmt.Errorf("deed: open %s: %w", b.features.Engine, err)
	}
	if b.opts.Durability == 0 {
		b.log.Info("deed: engine opened", "engine", b.features.Engine, "durability", b.features.Durability.String())
	}
	b.publisher = newPublisher(b)
	return b, nil
}

// Conn returns the engine's connection, in which driver.As finds capabilities.
func (b *Bus) Conn() driver.Conn { return b.conn }

// Features returns what the engine promises.
func (b *Bus) Features() driver.Features { return b.features }

// Options returns the bus's options with defaults filled in.
func (b *Bus) Options() Options { return b.opts }

// Close ends publishing and closes the engine. End Run first: what it still
// handles would be handled again.
func (b *Bus) Close() error {
	b.closeOnce.Do(func() {
		b.publisher.close()
		b.closeErr = b.conn.Close()
	})
	return b.closeErr
}
