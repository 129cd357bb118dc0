package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
)

// resetFlags are the flags of deed reset.
type resetFlags struct {
	to   string
	yes  bool
	opts deed.ResetOptions
}

func newReset(a *app) *cobra.Command {
	var f resetFlags
	cmd := &cobra.Command{
		Use:   "reset GROUP TOPIC --to start|end|TIME|POSITION",
		Short: "Set a group back, or forward, on a topic",
		Long: "Set a group back, or forward, on a topic.\n\n" +
			"What the group had handled before is delivered again as a replay. --quiet shows replays to handlers that\n" +
			"were declared replay-safe only, and keeps the outbox silent; --effects shows them to all handlers, which do\n" +
			"again what they do. With neither the reset is refused unless all handlers are replay-safe. Parked events\n" +
			"and dead letters stay.\n\n" +
			"A reset to what is ahead of the group leaves out the events between. Without --yes it says how many there\n" +
			"are, as it says all that it would do, and does nothing.\n\n" +
			"A POSITION like 3-1042 names one partition, and several are joined by commas; the partitions that are not\n" +
			"named start at the beginning.",
		Example: "  deed reset billing orders --to -24h --quiet --yes\n" +
			"  deed reset view quakes --to start --effects --yes\n" +
			"  deed reset view quakes --to 2026-01-31T12:00:00Z --quiet --fence --yes",
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reset(cmd.Context(), args[0], args[1], &f)
		},
	}
	cmd.Flags().StringVar(&f.to, "to", "", "where the group goes on: start, end, `TIME` or POSITION")
	cmd.Flags().BoolVar(&f.opts.Effects, "effects", false, "let all handlers see replayed events")
	cmd.Flags().BoolVar(&f.opts.Quiet, "quiet", false, "let only replay-safe handlers see replayed events")
	cmd.Flags().BoolVar(&f.opts.Fence, "fence", false, "take the partitions from running members, which go on from there")
	addYes(cmd, &f.yes)
	return cmd
}

func (a *app) reset(ctx context.Context, group, topic string, f *resetFlags) error {
	switch {
	case f.to == "":
		return usagef("--to is missing (want start, end, an RFC 3339 time, -24h, or a position like 3-1042)")
	case f.opts.Effects && f.opts.Quiet:
		return usagef("both --effects and --quiet (choose one)")
	}
	to, err := parseFrom("to", f.to)
	if err != nil {
		return err
	}
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	groups, err := groupsOf(bus)
	if err != nil {
		return err
	}
	if _, err := groupInfos(ctx, groups, group, topic); err != nil {
		return err
	}
	replays := "to replay-safe handlers only, if there are others the reset is refused"
	switch {
	case f.opts.Effects:
		replays = "to all handlers, whose effects happen again"
	case f.opts.Quiet:
		replays = "to replay-safe handlers only, and keeps the outbox silent"
	}
	what := fmt.Sprintf("set group %s on topic %s to %s", group, topic, f.to)
	f.opts.DryRun = true
	var skip *deed.SkipError
	switch err := bus.Reset(ctx, group, topic, to, f.opts); {
	case errors.As(err, &skip):
		what += fmt.Sprintf(", leave out %s that it has not handled,", plural(skip.Events, "event"))
	case err != nil:
		return err
	}
	if err := a.confirm(f.yes, what+" and show what it had handled "+replays); err != nil {
		return err
	}
	f.opts.DryRun, f.opts.Skip = false, skip != nil
	if err := bus.Reset(ctx, group, topic, to, f.opts); err != nil {
		return err
	}
	a.say("reset group %s on topic %s", group, topic)
	return nil
}
