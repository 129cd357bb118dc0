package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

func newTopics(a *app) *cobra.Command {
	return group("topics", "List, show, create, change and remove topics",
		newTopicsList(a), newTopicsShow(a), newTopicsCreate(a), newTopicsSet(a), newTopicsRemove(a))
}

// topicDoc is a topic in JSON. Spans are seconds; 0 means none or for ever.
type topicDoc struct {
	Name          string     `json:"name"`
	Partitions    int        `json:"partitions"`
	PartitionBy   string     `json:"partition_by"`
	Events        int64      `json:"events"`
	DedupeSeconds float64    `json:"dedupe_seconds"`
	KeepSeconds   float64    `json:"keep_seconds"`
	HoldSeconds   float64    `json:"hold_seconds"`
	MaxBytes      int64      `json:"max_bytes"`
	Pack          bool       `json:"pack"`
	Streams       bool       `json:"streams"`
	Bytes         int64      `json:"bytes"`
	Scheduled     int64      `json:"scheduled"`
	NextDue       *time.Time `json:"next_due"`
	Generation    int        `json:"generation"`
	Incarnation   string     `json:"incarnation"`
	Created       *time.Time `json:"created"`
	Damage        string     `json:"damage,omitempty"`
}

func topicDocOf(t driver.TopicInfo) topicDoc {
	return topicDoc{
		Name: t.Name, Partitions: t.Partitions, PartitionBy: orderedBy(t), Events: t.Events,
		DedupeSeconds: t.Dedupe.Seconds(), KeepSeconds: t.Keep.Seconds(), HoldSeconds: t.Hold.Seconds(),
		MaxBytes: max(t.MaxBytes, 0), Pack: t.Pack, Streams: t.Streams, Bytes: t.Bytes, Scheduled: t.Scheduled,
		NextDue: stamp(t.NextDue), Generation: t.Generation, Incarnation: t.Incarnation, Created: stamp(t.Created),
		Damage: t.Damage,
	}
}

func orderedBy(t driver.TopicInfo) string {
	if t.PartitionBy == "" {
		return deed.ByKey
	}
	return t.PartitionBy
}

// spanOr is a setting's text: its duration, or what zero means.
func spanOr(d time.Duration, zero string) string {
	if d == 0 {
		return zero
	}
	return span(d)
}

func newTopicsList(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the topics",
		Long:  "List the topics with what they store and how long they keep it.",
		Example: "  deed topics\n" +
			"  deed topics ls -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			bus, err := a.open(cmd.Context(), toRead)
			if err != nil {
				return err
			}
			defer bus.Close()
			topics, err := topicsOf(bus)
			if err != nil {
				return err
			}
			all, err := topics.Topics(cmd.Context())
			if err != nil {
				return err
			}
			return errors.Join(a.printTopics(all, out), damage(all...))
		},
	}
	out.addFlag(cmd)
	return cmd
}

// damage is the error of topics that the engine has lost a part of.
func damage(all ...driver.TopicInfo) error {
	var errs []error
	for _, t := range all {
		if t.Damage != "" {
			errs = append(errs, fmt.Errorf("topic %s is damaged: %s", t.Name, t.Damage))
		}
	}
	return errors.Join(errs...)
}

func (a *app) printTopics(all []driver.TopicInfo, out format) error {
	if out == asJSON {
		docs := make([]topicDoc, len(all))
		for i, t := range all {
			docs[i] = topicDocOf(t)
		}
		return a.printJSON(map[string]any{"topics": docs})
	}
	if len(all) == 0 {
		a.say("no topics yet")
		return nil
	}
	t := newTable("TOPIC", ">EVENTS", ">PARTITIONS", "BY", "ID WINDOW", "KEEP", "HOLD", ">BOUND", "CREATED")
	for _, info := range all {
		t.add(info.Name, comma(info.Events), strconv.Itoa(info.Partitions), orderedBy(info), spanOr(info.Dedupe, "-"),
			spanOr(info.Keep, "forever"), spanOr(info.Hold, "forever"), boundText(info.MaxBytes), ago(info.Created))
	}
	return t.print(a)
}

func newTopicsShow(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "show TOPIC",
		Short: "Show a topic with its partitions",
		Long:  "Show a topic with the last position of each partition.",
		Example: "  deed topics show orders\n" +
			"  deed topics show orders -o json",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.topicsShow(cmd, args[0], out) },
	}
	out.addFlag(cmd)
	return cmd
}

func (a *app) topicsShow(cmd *cobra.Command, name string, out format) error {
	ctx := cmd.Context()
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	info, err := topicInfo(ctx, bus, name)
	if err != nil {
		return err
	}
	ends := []string{}
	if browser, ok := driver.As[driver.Browser](bus.Conn()); ok {
		if ends, err = browser.Ends(ctx, name); err != nil {
			return err
		}
	}
	if out == asJSON {
		err = a.printJSON(struct {
			topicDoc
			Ends []string `json:"ends"`
		}{topicDocOf(info), ends})
	} else {
		err = a.printTopic(info, ends)
	}
	return errors.Join(err, damage(info))
}

// printTopic prints a topic with the ends of its partitions.
func (a *app) printTopic(info driver.TopicInfo, ends []string) error {
	if err := a.printTopics([]driver.TopicInfo{info}, asText); err != nil || len(ends) == 0 {
		return err
	}
	t := newTable(">PARTITION", "LAST POSITION")
	for i, end := range ends {
		if end == "" {
			end = "-"
		}
		t.add(strconv.Itoa(i), end)
	}
	if err := t.print(a); err != nil || info.Scheduled == 0 {
		return err
	}
	_, err := fmt.Fprintf(output{a.stdout}, "%s delayed, the first until %s\n",
		plural(info.Scheduled, "event"), info.NextDue.UTC().Format(time.RFC3339))
	return err
}

type topicFlags struct {
	partitions         int
	partitionBy        string
	dedupe, keep, hold time.Duration
	maxBytes           sizeFlag
	pack               bool
}

// addSettings gives a command the flags for what can be changed later.
func (f *topicFlags) addSettings(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.Var(spanFlag{to: &f.dedupe}, "dedupe", "id window: how long an id is stored once; 0 for none")
	fl.Var(spanFlag{to: &f.keep}, "keep", "how long events stay at least (default 7d)")
	fl.Var(spanFlag{to: &f.hold, forever: true}, "hold", "how long events wait for a slow group (default forever)")
	fl.Var(&f.maxBytes, "max-bytes",
		"how much data the topic stores at most; above it publishing fails; 0 for no bound (default: the engine's)")
}

// bound is --max-bytes as a setting.
func (f *topicFlags) bound(cmd *cobra.Command) int64 {
	if f.maxBytes == 0 && cmd.Flags().Changed("max-bytes") {
		return driver.NoBound
	}
	return int64(f.maxBytes)
}

// boundText is the setting's text.
func boundText(bytes int64) string {
	if bytes <= 0 {
		return "none"
	}
	return bytesText(bytes)
}

func newTopicsCreate(a *app) *cobra.Command {
	var f topicFlags
	cmd := &cobra.Command{
		Use:   "create TOPIC",
		Short: "Create a topic",
		Long:  "Create a topic. Its partitions and what order is kept by are fixed; deed topics set changes the rest.",
		Example: "  deed topics create orders\n" +
			"  deed topics create orders --partitions 32 --dedupe 24h --keep 30d\n" +
			"  deed topics create clicks --hold 2d --max-bytes 10GiB",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.topicsCreate(cmd, args[0], f) },
	}
	f.addSettings(cmd)
	cmd.Flags().IntVar(&f.partitions, "partitions", driver.DefaultPartitions, "how many members of a group can share it")
	cmd.Flags().BoolVar(&f.pack, "pack", false, "store what is published together as one entry, on engines that can")
	cmd.Flags().StringVar(&f.partitionBy, "partition-by", deed.ByKey, "what order is kept by, `key|type`")
	return cmd
}

func (a *app) topicsCreate(cmd *cobra.Command, name string, f topicFlags) error {
	if err := deed.CheckName("topic", name); err != nil {
		return usageError{err.Error()}
	}
	if f.partitions < 1 || f.partitions > 1024 {
		return usagef("--partitions %d: want 1 to 1024", f.partitions)
	}
	if f.partitionBy != deed.ByKey && f.partitionBy != deed.ByType {
		return usagef("--partition-by %q: want key or type", f.partitionBy)
	}
	bus, err := a.open(cmd.Context(), toWrite)
	if err != nil {
		return err
	}
	defer bus.Close()
	topics, err := topicsOf(bus)
	if err != nil {
		return err
	}
	if f.pack && !bus.Features().Pack {
		return usagef("--pack: %s does not pack events", bus.Features().Engine)
	}
	switch there, err := topics.Topic(cmd.Context(), name); {
	case err == nil && there.Damage == "": // else it is made whole
		return hint(errors.New("topic "+name+" exists already"), "deed topics set "+name+" changes it")
	case err != nil && !isNotFound(err):
		return err
	}
	info, err := topics.CreateTopic(cmd.Context(), name, driver.TopicSettings{
		Partitions: f.partitions, PartitionBy: f.partitionBy, Dedupe: f.dedupe, Keep: f.keep, Hold: f.hold,
		MaxBytes: f.bound(cmd), Pack: f.pack,
	})
	if err != nil {
		return err
	}
	a.say("created topic %s with %s", info.Name, plural(int64(info.Partitions), "partition"))
	return nil
}

func newTopicsSet(a *app) *cobra.Command {
	var f topicFlags
	cmd := &cobra.Command{
		Use:   "set TOPIC",
		Short: "Change a topic's id window, how long it keeps events, and how much of them",
		Long:  "Change a topic's id window, how long it keeps events, and how much of them. Only what is named changes.",
		Example: "  deed topics set orders --keep 30d\n" +
			"  deed topics set orders --dedupe 24h\n" +
			"  deed topics set clicks --hold 2d --max-bytes 10GiB",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.topicsSet(cmd, args[0], f) },
	}
	f.addSettings(cmd)
	return cmd
}

func (a *app) topicsSet(cmd *cobra.Command, name string, f topicFlags) error {
	changed := cmd.Flags().Changed
	if !changed("dedupe") && !changed("keep") && !changed("hold") && !changed("max-bytes") {
		return usagef("nothing to change (give --dedupe, --keep, --hold or --max-bytes)")
	}
	bus, err := a.open(cmd.Context(), toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	info, err := topicInfo(cmd.Context(), bus, name)
	if err != nil {
		return err
	}
	topics, err := topicsOf(bus)
	if err != nil {
		return err
	}
	s := info.TopicSettings
	if changed("dedupe") {
		s.Dedupe = f.dedupe
	}
	if changed("keep") {
		s.Keep = f.keep
	}
	if changed("hold") {
		s.Hold = f.hold
	}
	if changed("max-bytes") {
		s.MaxBytes = f.bound(cmd)
	}
	if err := topics.SetTopic(cmd.Context(), name, s); err != nil {
		return err
	}
	a.say("topic %s: id window %s, keep %s, hold %s, max-bytes %s",
		name, spanOr(s.Dedupe, "none"), spanOr(s.Keep, "forever"), spanOr(s.Hold, "forever"), boundText(s.MaxBytes))
	return nil
}

func newTopicsRemove(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm TOPIC",
		Short: "Remove a topic with its events, groups and dead letters",
		Long:  "Remove a topic with its events, groups and dead letters. It says what it would do, and does it with --yes.",
		Example: "  deed topics rm notes\n" +
			"  deed topics rm notes --yes",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.topicsRemove(cmd, args[0], yes) },
	}
	addYes(cmd, &yes)
	return cmd
}

func (a *app) topicsRemove(cmd *cobra.Command, name string, yes bool) error {
	ctx := cmd.Context()
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	info, err := topicInfo(ctx, bus, name)
	if err != nil {
		return err
	}
	what := "topic " + name + " with " + plural(info.Events, "event")
	if groups, ok := driver.As[driver.Groups](bus.Conn()); ok {
		lags, err := groups.Lag(ctx, "", name)
		if err != nil {
			return err
		}
		standing := standings(lags)
		what += ", " + plural(int64(len(standing)), "group")
		dead := int64(0)
		for _, s := range standing {
			dead += s.Dead
		}
		what += " and " + plural(dead, "dead letter")
	}
	if err := a.confirm(yes, "remove "+what); err != nil {
		return err
	}
	topics, err := topicsOf(bus)
	if err != nil {
		return err
	}
	return topics.DeleteTopic(ctx, name)
}

func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do it; without this the command only says what it would do")
}

// confirm says what is going to happen, and refuses to let it without --yes.
func (a *app) confirm(yes bool, what string) error {
	if !yes {
		return usagef("this would %s; nothing was done (add --yes to do it)", what)
	}
	a.say("%s", what)
	return nil
}
