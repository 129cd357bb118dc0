// Package cli is the deed command: a file per command, and beside them what the
// commands share.
//
// Data goes to stdout, everything else to stderr. Errors are one line. The exit
// code is one of the exit constants.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
)

// app is what the commands share: where they read and write, and which engine.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	url, state     string
}

const (
	urlVariable = "DEED_URL"
	// stateVariable is where the value of --state comes from without one.
	stateVariable = "DEED_STATE"
	urlDefault    = "sqlite:deed.db"
)

// Main runs the process's command line and returns its exit code.
func Main() int {
	if len(os.Args) == 3 && os.Args[1] == guardCommand {
		return runGuard(os.Args[2])
	}
	// A reader that goes away is a write error, which a command reports and which
	// acknowledges nothing; without this the process would just die.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
}

func run(ctx context.Context, a *app, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "deed",
		Short: "deed publishes, reads and administers events",
		Long: "deed publishes, reads and administers events.\n\n" +
			"The engine is a URL: -u, or " + urlVariable + ", or " + urlDefault + " in the current folder.",
		Example: "  deed pub orders --key /customer < orders.ndjson\n" +
			"  deed sub orders --group billing\n" +
			"  deed lag",
		Args:              usageArgs(cobra.ArbitraryArgs),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}
	url := os.Getenv(urlVariable)
	if url == "" {
		url = urlDefault
	}
	root.PersistentFlags().StringVarP(&a.url, "url", "u", url, "engine `URL`")
	root.PersistentFlags().StringVar(&a.state, "state", os.Getenv(stateVariable),
		"`URL` of a second engine, for claims and dead letters of one without a place for them")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err.Error()} })
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.AddCommand(
		newPub(a), newSub(a), newPipe(a), newCat(a), newShow(a),
		newBridge(a), newTopics(a), newGroups(a), newLag(a), newDLQ(a), newReset(a),
		newCheck(a), newDoctor(a), newMigrations(a), newBench(a), newCompletion(a), newVersion(a),
	)
	addExitCodes(root)
	return root
}

// openMode says whether a command may bring the database and topics into being.
type openMode bool

const (
	toRead  openMode = true
	toWrite openMode = false
)

// open returns a bus on the engine of --url.
func (a *app) open(ctx context.Context, mode openMode) (*deed.Bus, error) {
	return a.openWith(ctx, mode, deed.Options{})
}

// openWith is open with options of the command's own.
func (a *app) openWith(ctx context.Context, mode openMode, o deed.Options) (*deed.Bus, error) {
	o.NoCreate, o.State = bool(mode), a.state
	o.Logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := engine.Open(ctx, a.url, &o)
	if err != nil && mode == toRead && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no database there (deed pub and deed topics create make it; -u or %s names another)",
			a.url, urlVariable)
	}
	return b, err
}

// group returns a command that only holds others, and runs the one called def when
// it is called alone.
func group(use, short string, def *cobra.Command, others ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Args: usageArgs(cobra.ArbitraryArgs),
		Long:    short + ". Alone it is " + use + " " + def.Name() + ".",
		Example: def.Example,
	}
	g.AddCommand(def)
	g.AddCommand(others...)
	g.Flags().AddFlagSet(def.Flags())
	g.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return def.RunE(cmd, args)
	}
	return g
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	near := nearest(name, names)
	if near == "" {
		return usagef("unknown command %q (one of %s)", name, strings.Join(names, ", "))
	}
	return usagef("unknown command %q (did you mean %q?)", name, near)
}
