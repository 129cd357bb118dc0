package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
)

func newDLQRedrive(a *app) *cobra.Command {
	var f dlqFlags
	cmd := &cobra.Command{
		Use:   "redrive [ID...]",
		Short: "Give dead letters to their group again",
		Long: "Give dead letters to their group again: its running member handles them, and what waits behind them,\n" +
			"in the order of the key. Without ids and filters it means all, and wants --yes.",
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.dlqAct(cmd.Context(), &f, args, dlqAction{
				verb: "redrive", past: "redriven", needsYes: f.empty(args), do: deadletter.Redrive,
			})
		},
	}
	f.addFlags(cmd)
	addYes(cmd, &f.yes)
	return cmd
}

func newDLQDiscard(a *app) *cobra.Command {
	var f dlqFlags
	cmd := &cobra.Command{
		Use:   "discard [ID...]",
		Short: "Remove dead letters for good; what waits behind them goes on",
		Args:  usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.dlqAct(cmd.Context(), &f, args, dlqAction{
				verb: "discard", past: "discarded", needsYes: true, do: deadletter.Discard,
			})
		},
	}
	f.addFlags(cmd)
	addYes(cmd, &f.yes)
	return cmd
}

type dlqAction struct {
	verb, past string
	needsYes   bool
	do         func(context.Context, *deed.Bus, *deadletter.Filter) (int, error)
}

func (a *app) dlqAct(ctx context.Context, f *dlqFlags, args []string, act dlqAction) error {
	filter, err := f.filter(args)
	if err != nil {
		return err
	}
	bus, err := a.openLetters(ctx, filter)
	if err != nil {
		return err
	}
	defer bus.Close()
	if act.needsYes {
		n := int64(0)
		for l, err := range deadletter.List(ctx, bus, filter) {
			if err != nil {
				return err
			}
			if !l.Redriven {
				n++
			}
		}
		if err := a.confirm(f.yes, act.verb+" "+plural(n, "dead letter")); err != nil {
			return err
		}
	}
	n, err := act.do(ctx, bus, filter)
	a.say("%s %s", plural(int64(n), "dead letter"), act.past)
	return err
}
