package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
)

func newDLQ(a *app) *cobra.Command {
	return group("dlq", "List, show, redrive, discard, export and edit dead letters",
		newDLQList(a), newDLQShow(a), newDLQRedrive(a), newDLQDiscard(a), newDLQExport(a), newDLQEdit(a))
}

type dlqFlags struct {
	group, topic, typeName, key, errorRE, since string
	yes                                         bool
}

func (f *dlqFlags) addFlags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.group, "group", "", "of this `group` only")
	fl.StringVar(&f.topic, "topic", "", "of this `topic` only")
	fl.StringVar(&f.typeName, "type", "", "of this `type` only")
	fl.StringVar(&f.key, "key", "", "of this `key` only")
	fl.StringVar(&f.errorRE, "error", "", "whose error matches this regular expression, an `RE`")
	fl.StringVar(&f.since, "since", "", "that failed since this `TIME`")
}

// empty reports whether neither ids nor flags narrow the choice down.
func (f *dlqFlags) empty(ids []string) bool {
	return len(ids) == 0 && f.group+f.topic+f.typeName+f.key+f.errorRE+f.since == ""
}

func (f *dlqFlags) filter(args []string) (*deadletter.Filter, error) {
	ids, err := parseIDs(args)
	if err != nil {
		return nil, err
	}
	out := &deadletter.Filter{IDs: ids, Group: f.group, Topic: f.topic, Key: f.key, Type: f.typeName}
	if f.errorRE != "" {
		if out.Error, err = regexp.Compile(f.errorRE); err != nil {
			return nil, usagef("--error %q: %v", f.errorRE, err)
		}
	}
	if f.since != "" {
		if out.Since, err = parseTime(f.since); err != nil {
			return nil, usagef("--since %q: want an RFC 3339 time or -24h", f.since)
		}
	}
	return out, nil
}

func parseIDs(args []string) ([]int64, error) {
	var ids []int64
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id < 1 {
			return nil, usagef("%q is no dead letter's number (deed dlq ls shows them)", arg)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// openLetters opens the engine, and refuses names and numbers that do not exist: a
// misspelled group would look like good news otherwise.
func (a *app) openLetters(ctx context.Context, f *deadletter.Filter) (*deed.Bus, error) {
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return nil, err
	}
	if err = checkLetters(ctx, bus, f); err != nil {
		bus.Close()
		return nil, err
	}
	return bus, nil
}

func checkLetters(ctx context.Context, bus *deed.Bus, f *deadletter.Filter) error {
	if f.Topic != "" {
		if _, err := topicInfo(ctx, bus, f.Topic); err != nil {
			return err
		}
	}
	if f.Group != "" {
		groups, err := groupsOf(bus)
		if err != nil {
			return err
		}
		if _, err := groupInfos(ctx, groups, f.Group, f.Topic); err != nil {
			return err
		}
	}
	if len(f.IDs) == 0 {
		return nil
	}
	missing, err := deadletter.Missing(ctx, bus, f.IDs)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("dead letter %d: %w (deed dlq ls shows all)", missing[0], deadletter.ErrNotFound)
	}
	return err
}

// letterDoc is a dead letter in JSON.
type letterDoc struct {
	ID       int64             `json:"id"`
	Group    string            `json:"group"`
	Topic    string            `json:"topic"`
	State    string            `json:"state"`
	Reason   string            `json:"reason"`
	Error    string            `json:"error"`
	Attempts int               `json:"attempts"`
	Crashes  int               `json:"crashes"`
	Failed   *time.Time        `json:"failed"`
	Position string            `json:"position"`
	StoredAt *time.Time        `json:"stored_at"`
	Run      int               `json:"run"`
	Stack    string            `json:"stack,omitempty"`
	Behind   *int              `json:"behind,omitempty"`
	Edits    []deadletter.Edit `json:"edits,omitempty"`
	Event    deed.Event        `json:"event"`
}

func letterDocOf(l deadletter.Letter) letterDoc {
	return letterDoc{
		ID: l.ID, Group: l.Group, Topic: l.Topic, State: letterState(l), Reason: l.Reason, Error: l.Error,
		Attempts: l.Attempts, Crashes: l.Crashes, Failed: stamp(l.Failed),
		Position: l.Position, StoredAt: stamp(l.StoredAt), Run: l.Run, Stack: l.Stack,
		Edits: l.Edits, Event: l.Event,
	}
}

func letterState(l deadletter.Letter) string {
	if l.Redriven {
		return "redriven"
	}
	return "dead"
}

func newDLQList(a *app) *cobra.Command {
	var f dlqFlags
	var out format
	cmd := &cobra.Command{
		Use:   "ls [ID...]",
		Short: "List dead letters",
		Long: "List dead letters, all or those that the numbers and filters choose. One that is redriven and not handled\n" +
			"yet is listed as redriven.",
		Example: "  deed dlq ls\n" +
			"  deed dlq ls --group billing --error 'total is' --since -24h\n" +
			"  deed dlq ls --topic orders -o json",
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter(args)
			if err != nil {
				return err
			}
			return a.dlqList(cmd.Context(), filter, out)
		},
	}
	f.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func (a *app) dlqList(ctx context.Context, f *deadletter.Filter, out format) error {
	bus, err := a.openLetters(ctx, f)
	if err != nil {
		return err
	}
	defer bus.Close()
	if out == asJSON {
		return a.dlqListJSON(ctx, bus, f)
	}
	return a.dlqTable(ctx, bus, f, true)
}

// dlqTable prints dead letters, those that are redriven already only if asked to.
func (a *app) dlqTable(ctx context.Context, bus *deed.Bus, f *deadletter.Filter, redriven bool) error {
	t := newTable(">ID", "GROUP", "TOPIC", "POSITION", "TYPE", "KEY", "STATE", "REASON", ">ATTEMPTS", "FAILED", "ERROR")
	for l, err := range deadletter.List(ctx, bus, f) {
		if err != nil {
			return err
		}
		if l.Redriven && !redriven {
			continue
		}
		t.add(strconv.FormatInt(l.ID, 10), l.Group, l.Topic, l.Position, l.Event.Type, shorten(l.Event.Key, 24),
			letterState(l), l.Reason, comma(int64(l.Attempts)), ago(l.Failed), shorten(l.Error, 60))
	}
	if len(t.rows) == 0 {
		a.say("no dead letters")
		return nil
	}
	return t.print(a)
}

// dlqListJSON writes one document without holding it: letters carry their events.
func (a *app) dlqListJSON(ctx context.Context, bus *deed.Bus, f *deadletter.Filter) error {
	out := output{a.stdout}
	separator := "{\"letters\": ["
	for l, err := range deadletter.List(ctx, bus, f) {
		if err != nil {
			return err
		}
		doc, err := json.Marshal(letterDocOf(l))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n  %s", separator, doc); err != nil {
			return err
		}
		separator = ","
	}
	if separator != "," {
		_, err := io.WriteString(out, separator+"]}\n")
		return err
	}
	_, err := io.WriteString(out, "\n]}\n")
	return err
}

func newDLQShow(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "show ID...",
		Short: "Show dead letters with error, stack, what waits behind them, and the event",
		Long: "Show dead letters: the last error and its stack, how often it was tried, what waits behind it, how it was\n" +
			"edited, and the event.",
		Example: "  deed dlq show 17\n" +
			"  deed dlq show 17 18 -o json",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.dlqShow(cmd.Context(), args, out) },
	}
	out.addFlag(cmd)
	return cmd
}

func (a *app) dlqShow(ctx context.Context, args []string, out format) error {
	ids, err := parseIDs(args)
	if err != nil {
		return err
	}
	bus, err := a.openLetters(ctx, &deadletter.Filter{IDs: ids})
	if err != nil {
		return err
	}
	defer bus.Close()
	var docs []letterDoc
	var b strings.Builder
	for i, id := range ids {
		l, behind, err := deadletter.Show(ctx, bus, id)
		if err != nil {
			return err
		}
		if out == asJSON {
			doc := letterDocOf(l)
			doc.Behind = &behind
			docs = append(docs, doc)
			continue
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		describeLetter(&b, l, behind)
	}
	if out == asJSON {
		return a.printJSON(map[string]any{"letters": docs})
	}
	_, err = io.WriteString(output{a.stdout}, b.String())
	return err
}

func describeLetter(b *strings.Builder, l deadletter.Letter, behind int) {
	field(b, "dead letter", strconv.FormatInt(l.ID, 10))
	field(b, "group", l.Group)
	field(b, "topic", l.Topic)
	field(b, "position", l.Position)
	field(b, "stored", fullTime(&l.StoredAt))
	field(b, "state", letterState(l))
	field(b, "reason", l.Reason)
	field(b, "error", l.Error)
	field(b, "attempts", comma(int64(l.Attempts)))
	if l.Crashes > 0 {
		field(b, "crashes", comma(int64(l.Crashes)))
	}
	field(b, "failed", fullTime(&l.Failed))
	switch {
	case l.Aside:
		field(b, "behind it", "nothing is held back: the group skips dead letters")
	case l.Event.Key == "":
		field(b, "behind it", "nothing: the event has no key")
	default:
		field(b, "behind it", plural(int64(behind), "event")+" of key "+l.Event.Key)
	}
	for _, e := range l.Edits {
		field(b, "edited", fullTime(&e.At)+" by "+e.By+": "+e.Why)
		field(b, "before that", shorten(string(e.Data), 400))
	}
	if l.Stack != "" {
		b.WriteString("\nstack\n")
		for line := range strings.Lines(l.Stack) {
			b.WriteString("  " + plain(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "  ")) + "\n")
		}
	}
	b.WriteString("\nevent\n")
	describeEvent(b, l.Event)
}
