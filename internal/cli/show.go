package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
)

func newShow(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "show TOPIC ID",
		Short: "Show one event, by its id or position",
		Long:  "Show one event, by its id or by its position as dlq show and topics show have it.",
		Example: "  deed show quakes uw61345682\n" +
			"  deed show orders 3-1042",
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.show(cmd, args[0], args[1], out) },
	}
	out.addFlag(cmd)
	return cmd
}

// shownEvent is the JSON of show.
type shownEvent struct {
	Topic    string     `json:"topic"`
	Position string     `json:"position"`
	StoredAt *time.Time `json:"stored_at"`
	Event    deed.Event `json:"event"`
}

// show reads the whole topic: ids are unique per source only, and no engine has to
// keep an index of them.
func (a *app) show(cmd *cobra.Command, topic, id string, out format) error {
	ctx := cmd.Context()
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	if _, err := topicInfo(ctx, bus, topic); err != nil {
		return err
	}
	found := []shownEvent{}
	for e, err := range bus.Read(ctx, topic, nil) {
		if err != nil {
			return err
		}
		if e.ID == id || e.Position == id {
			found = append(found, shownEvent{e.Topic, e.Position, stamp(e.StoredAt), e.Event})
		}
	}
	switch {
	case len(found) == 0:
		return fmt.Errorf("topic %s has no event with the id or position %q (deed cat %s lists all)", topic, id, topic)
	case out == asJSON:
		return a.printJSON(map[string]any{"events": found})
	}
	var b strings.Builder
	for i, f := range found {
		if i > 0 {
			b.WriteByte('\n')
		}
		field(&b, "topic", f.Topic)
		field(&b, "position", f.Position)
		field(&b, "stored", fullTime(f.StoredAt))
		describeEvent(&b, f.Event)
	}
	_, err = io.WriteString(output{a.stdout}, b.String())
	return err
}

// field writes one "name  value" line; an empty value is left out.
func field(b *strings.Builder, name, value string) {
	if value != "" {
		fmt.Fprintf(b, "%-14s %s\n", name, plain(value))
	}
}

func fullTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano) + " (" + ago(*t) + ")"
}

// describeEvent writes an event for people: attributes, then indented data.
func describeEvent(b *strings.Builder, e deed.Event) {
	field(b, "id", e.ID)
	field(b, "source", e.Source)
	field(b, "type", e.Type)
	field(b, "version", strconv.Itoa(max(e.Version, 1)))
	field(b, "key", e.Key)
	field(b, "time", fullTime(&e.Time))
	field(b, "subject", e.Subject)
	field(b, "content type", e.ContentType)
	field(b, "schema", e.Schema)
	field(b, "correlation", e.CorrelationID)
	field(b, "causation", e.CausationID)
	field(b, "trace", e.TraceParent)
	field(b, "trace state", e.TraceState)
	for _, name := range slices.Sorted(maps.Keys(e.Extensions)) {
		field(b, name, e.Extensions[name])
	}
	var data bytes.Buffer
	switch {
	case json.Indent(&data, e.Data, "", "  ") == nil:
	case utf8.Valid(e.Data):
		data.WriteString(plain(string(e.Data)))
	default:
		fmt.Fprintf(&data, "%x", e.Data)
	}
	fmt.Fprintf(b, "\n%s\n", data.String())
}
