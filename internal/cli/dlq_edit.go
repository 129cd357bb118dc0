package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed/deadletter"
)

func newDLQExport(a *app) *cobra.Command {
	var f dlqFlags
	cmd := &cobra.Command{
		Use:   "export [ID...]",
		Short: "Write dead letters as CloudEvents, one a line",
		Long: "Write dead letters as CloudEvents JSON documents, one a line, with the failure in the extension attributes\n" +
			"deadletter (its number), deadgroup, deadtopic, deadposition, deadreason, deaderror, deadattempts,\n" +
			"deadcrashes and deadfailed. The lines can be published elsewhere.",
		Example: "  deed dlq export --group billing > letters.ndjson\n" +
			"  deed dlq export 17 | deed pub quarantine --cloudevents",
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return a.dlqExport(cmd.Context(), &f, args) },
	}
	f.addFlags(cmd)
	return cmd
}

func (a *app) dlqExport(ctx context.Context, f *dlqFlags, args []string) error {
	filter, err := f.filter(args)
	if err != nil {
		return err
	}
	bus, err := a.openLetters(ctx, filter)
	if err != nil {
		return err
	}
	defer bus.Close()
	n, err := deadletter.Export(ctx, bus, filter, output{a.stdout})
	if err != nil {
		return err
	}
	a.say("%s exported", plural(int64(n), "dead letter"))
	return nil
}

type editFlags struct{ by, why string }

func newDLQEdit(a *app) *cobra.Command {
	var f editFlags
	cmd := &cobra.Command{
		Use:   "edit ID --why TEXT",
		Short: "Replace a dead letter's data with stdin",
		Long: "Replace a dead letter's data with stdin. A redrive then gives the new data to the group; the event in the\n" +
			"topic stays as it was published. Who, why and the data before stay with the letter (deed dlq show).",
		Example: "  deed dlq edit 17 --why 'the total had the wrong sign' < mended.json\n" +
			"  deed dlq export 17 | jq -c '.data | .total = 5' | deed dlq edit 17 --why 'wrong sign'",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.dlqEdit(cmd.Context(), args, f) },
	}
	cmd.Flags().StringVar(&f.why, "why", "", "the reason, a `TEXT` that is kept with the letter")
	cmd.Flags().StringVar(&f.by, "by", "", "who edits it, a `NAME` (default the user at this machine)")
	return cmd
}

func (a *app) dlqEdit(ctx context.Context, args []string, f editFlags) error {
	ids, err := parseIDs(args)
	if err != nil {
		return err
	}
	if f.why == "" {
		return usagef("--why is missing (the reason is kept with the letter)")
	}
	if f.by == "" {
		f.by = whoami()
	}
	bus, err := a.openLetters(ctx, &deadletter.Filter{IDs: ids})
	if err != nil {
		return err
	}
	defer bus.Close()
	if isTerminal(a.stdin) {
		a.say("reading the new data from the terminal; Ctrl-D ends")
	}
	limit := bus.Options().MaxEventBytes
	data, err := io.ReadAll(io.LimitReader(a.stdin, int64(limit)+1))
	switch {
	case err != nil:
		return fmt.Errorf("stdin: %w", err)
	case len(data) > limit:
		return fmt.Errorf("stdin: more than %s bytes of data", comma(int64(limit)))
	case len(data) == 0:
		return errors.New("stdin: it is empty (the new data is read from there)")
	}
	if err := deadletter.SetData(ctx, bus, ids[0], data, f.by, f.why); err != nil {
		return err
	}
	a.say("dead letter %d edited by %s (deed dlq redrive %d gives it to the group)", ids[0], plain(f.by), ids[0])
	return nil
}

// whoami is the user's name with the machine's.
func whoami() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if name == "" {
		name = "somebody"
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
