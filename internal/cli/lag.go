package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

type lagFlags struct {
	group, topic string
	maxEvents    int64
	maxAge       time.Duration
	watch        bool
	out          format
}

func newLag(a *app) *cobra.Command {
	var f lagFlags
	cmd := &cobra.Command{
		Use:   "lag",
		Short: "Show how far groups are behind, per partition",
		Long: "Show how far groups are behind, per partition: events, seconds, rate, and the time to catch up.\n" +
			"Below, on Postgres and MySQL, are transactions that have been open for a second or longer and hold something\n" +
			"back, with the server's process that has them.\n" +
			"With a limit, it ends with 3 when a group is above it. --watch shows it again every second until SIGINT,\n" +
			"and ends with 0.",
		Example: "  deed lag\n" +
			"  deed lag --group billing --max-events 1000 --max-age 5m\n" +
			"  deed lag --watch",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.lag(cmd, f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.group, "group", "", "this `group` only")
	fl.StringVar(&f.topic, "topic", "", "this `topic` only")
	fl.Int64Var(&f.maxEvents, "max-events", 0, "fail when a group is more than `N` events behind")
	fl.Var(spanFlag{to: &f.maxAge}, "max-age", "fail when a group is behind by more than this time")
	fl.BoolVar(&f.watch, "watch", false, "show it again every second, until SIGINT")
	f.out.addFlag(cmd)
	return cmd
}

func (a *app) lag(cmd *cobra.Command, f lagFlags) error {
	if f.maxEvents < 0 {
		return usagef("--max-events %d: want 0 or more", f.maxEvents)
	}
	ctx := cmd.Context()
	if f.watch && (cmd.Flags().Changed("max-events") || cmd.Flags().Changed("max-age")) {
		return usagef("--watch and a limit: watching ends with 0 (leave one of them out)")
	}
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	if f.watch {
		return a.watchLag(ctx, bus, f)
	}
	groups, err := a.showLag(ctx, bus, f)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if cmd.Flags().Changed("max-events") && g.Events+g.Parked > f.maxEvents {
			return checkError{fmt.Sprintf("group %s on %s is %s behind (at most %s)",
				g.Group, g.Topic, plural(g.Events+g.Parked, "event"), comma(f.maxEvents))}
		}
		if cmd.Flags().Changed("max-age") && g.age() > f.maxAge {
			return checkError{fmt.Sprintf("group %s on %s is %s behind (at most %s)",
				g.Group, g.Topic, span(g.age()), span(f.maxAge))}
		}
	}
	return nil
}

// showLag prints the lag as it is now.
func (a *app) showLag(ctx context.Context, bus *deed.Bus, f lagFlags) ([]standing, error) {
	lags, err := lagsOf(ctx, bus, f.group, f.topic)
	if err != nil {
		return nil, err
	}
	blockers, err := blockersOf(ctx, bus)
	if err != nil {
		return nil, err
	}
	groups := standings(lags)
	if f.out == asJSON {
		return groups, a.printLagJSON(lags, groups, blockers)
	}
	if err := a.printLag(lags, groups); err != nil {
		return nil, err
	}
	return groups, a.printBlockers(blockers)
}

// lagsOf reports the partitions of groups and topics that have to exist when they
// are named.
func lagsOf(ctx context.Context, b *deed.Bus, group, topic string) ([]driver.PartitionLag, error) {
	groups, err := groupsOf(b)
	if err != nil {
		return nil, err
	}
	if topic != "" {
		if _, err := topicInfo(ctx, b, topic); err != nil {
			return nil, err
		}
	}
	if group != "" {
		if _, err := groupInfos(ctx, groups, group, topic); err != nil {
			return nil, err
		}
	}
	lags, err := groups.Lag(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(lags, func(a, b driver.PartitionLag) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return lags, nil
}

// standings adds up the partitions of each (group, topic). lags are sorted.
func standings(lags []driver.PartitionLag) []standing {
	var all []standing
	for _, l := range lags {
		if n := len(all); n == 0 || all[n-1].Group != l.Group || all[n-1].Topic != l.Topic {
			all = append(all, standing{PartitionLag: driver.PartitionLag{Group: l.Group, Topic: l.Topic}})
		}
		s := &all[len(all)-1]
		s.Events += l.Events
		s.Parked += l.Parked
		s.Dead += l.Dead
		s.Rate += l.Rate
		if !l.Oldest.IsZero() && (s.Oldest.IsZero() || l.Oldest.Before(s.Oldest)) {
			s.Oldest = l.Oldest
		}
	}
	return all
}

// standing is a partition's lag, or that of a whole group on a topic.
type standing struct{ driver.PartitionLag }

// age is how long the first event that is not handled has been stored.
func (s standing) age() time.Duration {
	if s.Oldest.IsZero() {
		return 0
	}
	return max(time.Since(s.Oldest), 0)
}

// catchUp is how long the lag takes at the present rate; ok is false for never.
func (s standing) catchUp() (d time.Duration, ok bool) {
	switch {
	case s.Events == 0:
		return 0, true
	case s.Rate <= 0:
		return 0, false
	}
	return time.Duration(float64(s.Events) / s.Rate * float64(time.Second)), true
}

func (s standing) cells(partition, member, status string) []string {
	behind, catchUp, rate := "-", "-", "-"
	if s.Events > 0 {
		behind = span(s.age())
		catchUp = "never"
	}
	if d, ok := s.catchUp(); ok && s.Events > 0 {
		catchUp = span(d)
	}
	if s.Rate > 0 {
		rate = strconv.FormatFloat(s.Rate, 'f', 1, 64) + "/s"
	}
	return []string{s.Group, s.Topic, partition, comma(s.Events), behind, rate, catchUp,
		comma(s.Parked), comma(s.Dead), member, status}
}

func (a *app) printLag(lags []driver.PartitionLag, groups []standing) error {
	if len(groups) == 0 {
		a.say("no groups yet")
		return nil
	}
	t := newTable("GROUP", "TOPIC", ">PARTITION", ">BEHIND", ">AGE", ">RATE", ">CATCH UP", ">PARKED", ">DEAD",
		"MEMBER", "STATUS")
	for _, l := range lags {
		member := l.Member
		switch {
		case member == "":
			member = "-"
		case l.MemberGone:
			member += fmt.Sprintf(" (silent, lapses in %s)", span(max(time.Until(l.Lapses), 0)))
		}
		t.add(standing{l}.cells(strconv.Itoa(l.Partition), member, shorten(l.Status, 60))...)
	}
	for _, g := range groups {
		t.add(g.cells("total", "", "")...)
	}
	return t.print(a)
}

// lagDoc is one standing in JSON. Seconds are absent when they are not known.
type lagDoc struct {
	Group          string     `json:"group"`
	Topic          string     `json:"topic"`
	Partition      *int       `json:"partition,omitempty"`
	Events         int64      `json:"events"`
	Seconds        float64    `json:"seconds"`
	Oldest         *time.Time `json:"oldest"`
	Rate           float64    `json:"rate"`
	CatchUpSeconds *float64   `json:"catch_up_seconds"`
	Parked         int64      `json:"parked"`
	Dead           int64      `json:"dead"`
	Position       string     `json:"position,omitempty"`
	End            string     `json:"end,omitempty"`
	Member         string     `json:"member,omitempty"`
	MemberGone     bool       `json:"member_gone,omitempty"`
	Lapses         *time.Time `json:"lapses,omitempty"`
	Status         string     `json:"status,omitempty"`
}

func lagDocOf(s standing) lagDoc {
	d := lagDoc{
		Group: s.Group, Topic: s.Topic, Events: s.Events, Seconds: s.age().Seconds(), Oldest: stamp(s.Oldest),
		Rate: s.Rate, Parked: s.Parked, Dead: s.Dead, Position: s.Position, End: s.End,
		Member: s.Member, MemberGone: s.MemberGone, Lapses: stamp(s.Lapses), Status: s.Status,
	}
	if c, ok := s.catchUp(); ok {
		seconds := c.Seconds()
		d.CatchUpSeconds = &seconds
	}
	return d
}

func (a *app) printLagJSON(lags []driver.PartitionLag, groups []standing, blockers []sqldb.Blocker) error {
	partitions := make([]lagDoc, len(lags))
	for i, l := range lags {
		partitions[i] = lagDocOf(standing{l})
		partitions[i].Partition = &l.Partition
	}
	totals := make([]lagDoc, len(groups))
	events := int64(0)
	for i, g := range groups {
		totals[i] = lagDocOf(g)
		events += g.Events
	}
	doc := map[string]any{"events": events, "groups": totals, "partitions": partitions}
	if blockers != nil {
		doc["blockers"] = blockerDocs(blockers)
	}
	return a.printJSON(doc)
}
