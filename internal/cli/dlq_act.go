package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
)

type redriveFlags struct {
	dlqFlags
	rate rateFlag
	opts deadletter.RedriveOptions
}

func newDLQRedrive(a *app) *cobra.Command {
	var f redriveFlags
	cmd := &cobra.Command{
		Use:   "redrive [ID...]",
		Short: "Give dead letters to their group again",
		Long: "Give dead letters to their group again: its running member handles them, and what waits behind them,\n" +
			"in the order of the key. Without ids and filters it means all, and wants --yes.\n\n" +
			"--rate limits how many letters a second are given. --stop-after ends it with 1 when so many of them are\n" +
			"dead again; it has never more under way than that, and waits for a member to try each. --dry-run lists\n" +
			"them and does nothing.",
		Example: "  deed dlq redrive 17 18\n" +
			"  deed dlq redrive --group billing --error 'total is' --dry-run\n" +
			"  deed dlq redrive --group billing --rate 50/s --stop-after 3",
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("stop-after") && f.opts.StopAfter < 1 {
				return usagef("--stop-after %d: want 1 or more", f.opts.StopAfter)
			}
			return a.dlqRedrive(cmd.Context(), &f, args)
		},
	}
	f.addFlags(cmd)
	cmd.Flags().Var(&f.rate, "rate", "at most so many letters a second, minute or hour")
	cmd.Flags().IntVar(&f.opts.StopAfter, "stop-after", 0, "end when `N` of them are dead again")
	cmd.Flags().BoolVar(&f.opts.DryRun, "dry-run", false, "list what would be redriven")
	addYes(cmd, &f.yes)
	return cmd
}

func (a *app) dlqRedrive(ctx context.Context, f *redriveFlags, args []string) error {
	filter, err := f.filter(args)
	if err != nil {
		return err
	}
	bus, err := a.openLetters(ctx, filter)
	if err != nil {
		return err
	}
	defer bus.Close()
	if f.opts.DryRun {
		return a.dlqTable(ctx, bus, filter, false)
	}
	n, err := countDead(ctx, bus, filter)
	if err != nil {
		return err
	}
	if f.empty(args) {
		if err := a.confirm(f.yes, "redrive "+plural(n, "dead letter")); err != nil {
			return err
		}
	}
	shown := a.count("redriving", n)
	last := deadletter.RedriveProgress{}
	f.opts.Rate = float64(f.rate)
	f.opts.Progress = func(p deadletter.RedriveProgress) {
		last = p
		shown.set(int64(p.Redriven), redriveText(p))
	}
	done, err := deadletter.Redrive(ctx, bus, filter, &f.opts)
	shown.done(err == nil)
	last.Redriven = done
	a.say("%s", redriveText(last))
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; the rest stays dead")
	}
	return err
}

func redriveText(p deadletter.RedriveProgress) string {
	s := plural(int64(p.Redriven), "dead letter") + " redriven"
	if p.Failed > 0 {
		s += ", " + comma(int64(p.Failed)) + " dead again"
	}
	if p.Open > 0 {
		s += ", " + comma(int64(p.Open)) + " waiting for a member or a retry"
	}
	return s
}

// countDead counts what a redrive or discard would touch.
func countDead(ctx context.Context, bus *deed.Bus, f *deadletter.Filter) (int64, error) {
	n, err := deadletter.Redrive(ctx, bus, f, &deadletter.RedriveOptions{DryRun: true})
	return int64(n), err
}

func newDLQDiscard(a *app) *cobra.Command {
	var f dlqFlags
	cmd := &cobra.Command{
		Use:   "discard [ID...]",
		Short: "Remove dead letters for good",
		Long: "Remove dead letters for good; what waits behind them goes on. It says what it would do, and does it with\n" +
			"--yes. Export them first to keep them somewhere.",
		Example: "  deed dlq discard 17 --yes\n" +
			"  deed dlq discard --group billing --type orders.test --yes",
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return a.dlqDiscard(cmd.Context(), &f, args) },
	}
	f.addFlags(cmd)
	addYes(cmd, &f.yes)
	return cmd
}

func (a *app) dlqDiscard(ctx context.Context, f *dlqFlags, args []string) error {
	filter, err := f.filter(args)
	if err != nil {
		return err
	}
	bus, err := a.openLetters(ctx, filter)
	if err != nil {
		return err
	}
	defer bus.Close()
	n, err := countDead(ctx, bus, filter)
	if err != nil {
		return err
	}
	if err := a.confirm(f.yes, "discard "+plural(n, "dead letter")); err != nil {
		return err
	}
	done, err := deadletter.Discard(ctx, bus, filter)
	a.say("%s discarded", plural(int64(done), "dead letter"))
	return err
}

// rateFlag is a number of letters a second, written "50/s", "600/m" or "50".
type rateFlag float64

func (r *rateFlag) Type() string { return "N/s" }

func (r *rateFlag) String() string {
	if *r == 0 {
		return ""
	}
	return fmt.Sprintf("%g/s", float64(*r))
}

func (r *rateFlag) Set(s string) error {
	number, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(number, 64)
	per, ok := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || !ok || !(n > 0) || math.IsInf(n, 0) {
		return errors.New("want a rate like 50/s, 600/m or 10/h")
	}
	*r = rateFlag(n / per.Seconds())
	return nil
}
