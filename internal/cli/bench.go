package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

const (
	benchName = "deed-bench" // topics and files of benchmarks begin with it, their group is called so
	// benchSmallest and benchLargest bound an event's data: it starts with a clock, and
	// a bus takes no more by default.
	benchSmallest, benchLargest = 8, 1 << 20
	// benchMost bounds publishers and batch, which memory grows with.
	benchMost = 10_000
	// benchKept is the part of a rate that counts as having kept it.
	benchKept = 0.95
	// benchEnd is how long cleaning up may take, also after an interrupt.
	benchEnd = time.Minute
)

// benchFlags are the flags of deed bench.
type benchFlags struct {
	events            int64
	duration          time.Duration
	size              sizeFlag
	publishers, batch int
	rate              rateFlag
	out               format
}

func newBench(a *app) *cobra.Command {
	f := benchFlags{size: 200}
	cmd := &cobra.Command{
		Use:   "bench [URL]",
		Short: "Measure an engine",
		Long: "Measure an engine: publish events, consume them in a group and settle them at the same time.\n\n" +
			"Without --rate it is as fast as the engine accepts, with at most 32,768 events under way. With --rate events\n" +
			"come evenly, whether the engine keeps up or not, and the latency of each counts from when it was due to when\n" +
			"its handler is called. A tenth of the work comes before, to warm up, and is not measured.\n\n" +
			"It works on a topic of its own, called " + benchName + "-..., and removes it at the end, also when it is\n" +
			"interrupted; only a kill leaves it there. On SQLite the topic is in a file of its own beside the named one,\n" +
			"orders.db." + benchName + "-..., so that the same disk is measured; the named one is not touched, and not\n" +
			"created.",
		Example: "  deed bench\n" +
			"  deed bench mem: --events 1000000 --size 1KiB\n" +
			"  deed bench --rate 1000/s --duration 30s -o json",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.url = args[0]
			}
			return a.bench(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	fl.Int64Var(&f.events, "events", 0, "how many `N` events to measure (default as many as --duration allows)")
	fl.Var(spanFlag{to: &f.duration}, "duration", "how long to measure (default 10s, unless --events is given)")
	fl.Var(&f.size, "size", "each event's data")
	fl.IntVar(&f.publishers, "publishers", 8, "publish from `N` goroutines")
	fl.IntVar(&f.batch, "batch", 256, "publish `N` events with a call; with --rate, at most")
	fl.Var(&f.rate, "rate", "publish so many events a second, minute or hour")
	f.out.addFlag(cmd)
	return cmd
}

// check completes the flags, or says what is wrong with them.
func (f *benchFlags) check() error {
	switch {
	case f.events < 0:
		return usagef("--events %d: want 1 or more", f.events)
	case f.publishers < 1 || f.publishers > benchMost:
		return usagef("--publishers %d: want 1 to %s", f.publishers, comma(benchMost))
	case f.batch < 1 || f.batch > benchMost:
		return usagef("--batch %d: want 1 to %s", f.batch, comma(benchMost))
	case f.size < benchSmallest || f.size > benchLargest:
		return usagef("--size %s: want %s to %s", f.size.String(), bytesText(benchSmallest), bytesText(benchLargest))
	}
	if f.events == 0 && f.duration == 0 {
		f.duration = 10 * time.Second
	}
	return nil
}

// bench makes a place for the benchmark, measures, and cleans up whatever happens.
func (a *app) bench(ctx context.Context, f *benchFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	name := benchName + "-" + strings.ToLower(rand.Text()[:8])
	path, own := sqlitePath(a.url)
	if own {
		path += "." + name
		a.url = "sqlite:" + path
		defer func() { err = errors.Join(err, removeSQLite(path)) }()
	}
	bus, err := a.openWith(ctx, toWrite, deed.Options{Source: "/cli/bench"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	topics, ok := driver.As[driver.Topics](bus.Conn())
	if !ok {
		return fmt.Errorf("%s cannot remove topics, so that the benchmark's would stay", bus.Features().Engine)
	}
	if !own { // else it goes with the file
		defer func() {
			ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), benchEnd)
			defer stop()
			if gone := topics.DeleteTopic(ctx, name); gone != nil && !isNotFound(gone) {
				err = errors.Join(err, hint(gone, "remove it with `deed topics rm "+name+" --yes`"))
			}
		}()
	}
	b := newBenchmark(a, bus, deed.NewTopic(name, &deed.TopicOptions{MaxBytes: deed.NoBound}), f)
	doc, err := b.run(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if f.out == asJSON {
		return a.printJSON(doc)
	}
	return a.printBench(doc)
}

// removeSQLite removes a database with all that belongs to it.
func removeSQLite(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// benchDoc is a benchmark's outcome in JSON.
type benchDoc struct {
	Engine         string     `json:"engine"`
	Durability     string     `json:"durability"`
	Publishers     int        `json:"publishers"`
	Batch          int        `json:"batch"`
	Size           int64      `json:"size_bytes"`
	Rate           float64    `json:"rate_per_second,omitempty"` // asked for
	Events         int64      `json:"events"`
	Seconds        float64    `json:"seconds"`
	PerSecond      float64    `json:"events_per_second"`
	BytesPerSecond float64    `json:"bytes_per_second"`
	Publish        *quantiles `json:"publish_call_ms"`
	Latency        *quantiles `json:"latency_ms,omitempty"`

	class driver.Class
}

func (a *app) printBench(d *benchDoc) error {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s"+format+"\n", append([]any{what}, args...)...)
	}
	line("engine", "%s", d.Engine)
	line("durability", "%s: accepted events survive %s", d.Durability, survives(d.class))
	load := fmt.Sprintf("%s, %s in a call, each of %s", plural(int64(d.Publishers), "publisher"),
		plural(int64(d.Batch), "event"), bytesText(d.Size))
	if d.Rate > 0 {
		load = fmt.Sprintf("%s events a second from %s, each of %s", comma(int64(d.Rate)),
			plural(int64(d.Publishers), "publisher"), bytesText(d.Size))
	}
	line("load", "%s", load)
	line("done", "%s published and handled in %.1fs, and settled", plural(d.Events, "event"), d.Seconds)
	behind := ""
	if d.PerSecond < benchKept*d.Rate {
		behind = ": it fell behind the rate"
	}
	line("throughput", "%s events/s, %s/s%s", comma(int64(d.PerSecond)), bytesText(int64(d.BytesPerSecond)), behind)
	line("publishing", "%s a call", d.Publish)
	if d.Latency != nil {
		line("latency", "%s from due to handled", d.Latency)
	}
	_, err := io.WriteString(output{a.stdout}, b.String())
	return err
}
