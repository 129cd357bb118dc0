package cli

import (
	"bufio"
	"context"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
)

type catFlags struct {
	from, to, key, typeName string
	last                    int
	follow, data            bool
}

func newCat(a *app) *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat TOPIC",
		Short: "Write a topic's events to stdout, without a group",
		Long: "Write a topic's events to stdout, one CloudEvents JSON document a line, without a group: nothing is\n" +
			"acknowledged. Partitions are merged by time of storing, order is kept inside each.\n\n" +
			"  deed cat A | deed pub B --cloudevents    copies a topic",
		Example: "  deed cat orders --last 10\n" +
			"  deed cat orders --from -1h --key o-17 --data\n" +
			"  deed cat orders --follow --type orders.paid | jq .data",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.readOptions(cmd)
			if err != nil {
				return err
			}
			return a.cat(cmd.Context(), args[0], o, f.data)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "start", "start, end, TIME, or a `POSITION` to start after")
	fl.StringVar(&f.to, "to", "end", "end, TIME, or a `POSITION` to end with")
	fl.IntVar(&f.last, "last", 0, "the last `N` events only")
	fl.StringVar(&f.key, "key", "", "events of this `key` only")
	fl.StringVar(&f.typeName, "type", "", "events of this `type` only")
	fl.BoolVar(&f.follow, "follow", false, "wait for more events instead of ending")
	fl.BoolVar(&f.data, "data", false, "write the data alone")
	return cmd
}

func (f catFlags) readOptions(cmd *cobra.Command) (*deed.ReadOptions, error) {
	o := &deed.ReadOptions{Last: f.last, Key: f.key, Type: f.typeName, Follow: f.follow}
	var err error
	if o.From, err = parseFrom("from", f.from); err != nil {
		return nil, err
	}
	if f.to != "end" { // the zero value of To
		if f.to == "start" {
			return nil, usagef("--to start: nothing ends there")
		}
		if o.To, err = parseFrom("to", f.to); err != nil {
			return nil, err
		}
	}
	switch {
	case f.last < 0 || f.last == 0 && cmd.Flags().Changed("last"):
		return nil, usagef("--last %d: want 1 or more", f.last)
	case f.follow && f.to != "end":
		return nil, usagef("--follow and --to exclude each other")
	case f.key == "" && cmd.Flags().Changed("key"):
		return nil, usagef("--key is empty")
	case f.typeName == "" && cmd.Flags().Changed("type"):
		return nil, usagef("--type is empty")
	}
	return o, nil
}

func (a *app) cat(ctx context.Context, topic string, o *deed.ReadOptions, data bool) (err error) {
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	if _, err := topicInfo(ctx, bus, topic); err != nil {
		return err
	}
	out := bufio.NewWriterSize(output{a.stdout}, 64<<10)
	defer func() {
		if e := out.Flush(); err == nil {
			err = e
		}
	}()
	for e, err := range bus.Read(ctx, topic, o) {
		if err != nil {
			if interrupted(ctx, err) {
				return nil
			}
			return err
		}
		if err := writeEvent(out, e.Event, data); err != nil {
			return err
		}
		if o.Follow { // somebody watches
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
