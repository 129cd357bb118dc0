package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine"
)

func newCheck(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "check [URL]",
		Short: "Check that an engine keeps its promises",
		Long: "Check that an engine keeps its promises: run the conformance suite against it and print what held.\n" +
			"It works on topics of its own, which it removes. It ends with 3 when a promise is broken.",
		Example: "  deed check mem:\n" +
			"  deed check redis://localhost:6379\n" +
			"  deed check sqlite:check.db -o json",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.url = args[0]
			}
			return a.check(cmd.Context(), out)
		},
	}
	out.addFlag(cmd)
	return cmd
}

// checkDoc is a check's outcome in JSON.
type checkDoc struct {
	Check   string  `json:"check"`
	Promise string  `json:"promise"`
	Why     string  `json:"why"`
	Result  string  `json:"result"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

func (a *app) check(ctx context.Context, out format) error {
	url := a.url
	if url == "mem:" || url == "mem+pubsub:" {
		url += "check" // members of the suite have to meet in one store
	}
	o := &deed.Options{State: a.state}
	conn, err := engine.OpenConn(ctx, url, o)
	if err != nil {
		return err
	}
	defer conn.Close() // and keeps a store in memory alive between checks
	features := conn.Features()
	a.say("%s keeps accepted events through: %s", features.Engine, features.Durability)

	width := 0
	for _, c := range drivertest.Checks() {
		width = max(width, len(c.Name))
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	start := time.Now()
	if out == asText {
		a.printCheckTitle(width)
	}
	results := drivertest.Run(ctx, harnessOf(url, o, conn), drivertest.Checks(), func(r drivertest.Result) {
		if out == asText && ctx.Err() == nil {
			if err := a.printCheck(r, width); err != nil {
				stop(err)
			}
		}
	})
	if ctx.Err() != nil {
		return fmt.Errorf("ended early: %w", context.Cause(ctx))
	}
	count := map[drivertest.Status]int{}
	docs := make([]checkDoc, len(results))
	for i, r := range results {
		count[r.Status]++
		docs[i] = checkDoc{
			Check: r.Check.Name, Promise: r.Check.Promise, Why: r.Check.Why, Result: string(r.Status), Detail: r.Detail,
			Seconds: r.Took.Seconds(),
		}
	}
	if out == asJSON {
		if err := a.printJSON(map[string]any{"engine": features.Engine, "checks": docs}); err != nil {
			return err
		}
	}
	a.say("%d passed, %d failed, %d not promised, in %s",
		count[drivertest.Passed], count[drivertest.Failed], count[drivertest.NotPromised], span(time.Since(start)))
	if n := count[drivertest.Failed]; n > 0 {
		return checkError{fmt.Sprintf("%s: %s broken", features.Engine, plural(int64(n), "promise"))}
	}
	return nil
}

// harnessOf lets the suite open members, and freeze them where the engine can play
// that.
func harnessOf(url string, o *deed.Options, conn driver.Conn) drivertest.Harness {
	type freezer interface{ Freeze() }
	h := drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) {
		return engine.OpenConn(ctx, url, o)
	}}
	if _, ok := conn.(freezer); ok {
		h.Freeze = func(c driver.Conn) { c.(freezer).Freeze() }
	}
	return h
}

const checkColumns = "%-12s  %-*s  %6s  %s\n"

// printCheckTitle prints the table's head; that stdout is closed shows at the first
// line.
func (a *app) printCheckTitle(width int) {
	fmt.Fprintf(a.stdout, checkColumns, "RESULT", width, "CHECK", "TIME", "PROMISE")
}

// printCheck prints a line at once: the suite takes a while.
func (a *app) printCheck(r drivertest.Result, width int) error {
	var b strings.Builder
	fmt.Fprintf(&b, checkColumns, r.Status, width, r.Check.Name, span(r.Took), r.Check.Promise)
	switch r.Status {
	case drivertest.Failed:
		fmt.Fprintf(&b, "    why it matters: %s\n", r.Check.Why)
		for line := range strings.Lines(r.Detail) {
			b.WriteString("    " + plain(strings.TrimRight(line, "\n")) + "\n")
		}
	case drivertest.NotPromised:
		fmt.Fprintf(&b, "    %s\n", plain(r.Detail))
	}
	_, err := io.WriteString(output{a.stdout}, b.String())
	return err
}
