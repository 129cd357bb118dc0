package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

// The results of a finding, as in its output.
const (
	isOK    = string(driver.Good)
	isNote  = string(driver.Noted)
	isWrong = string(driver.Wrong) // makes doctor exit with 3
)

// fullAt is the share of MaxBytes from which a topic counts as nearly full.
const fullAt = 0.9

// finding is one thing that doctor looked at.
type finding struct {
	Result string `json:"result"`
	What   string `json:"what"`
	Value  string `json:"value"`
	Advice string `json:"advice,omitempty"`
}

func newDoctor(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "doctor [URL]",
		Short: "Tell what an engine is set up to keep, and what is wrong with it",
		Long: "Tell what an engine is set up to keep, and what is wrong with it: what accepted events survive and why,\n" +
			"the disk under a file and who holds its write lock, how a server is set up to persist, replicate and evict,\n" +
			"groups that nobody runs and what they hold back, topics near their bound, dead letters. It changes nothing.\n" +
			"It ends with 3 when something is wrong.",
		Example: "  deed doctor\n" +
			"  deed doctor postgres://localhost/shop\n" +
			"  deed doctor redis://localhost:6379\n" +
			"  deed doctor -o json",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.url = args[0]
			}
			return a.doctor(cmd.Context(), out)
		},
	}
	out.addFlag(cmd)
	return cmd
}

// doctor is one examination.
type doctor struct{ findings []finding }

func (d *doctor) add(result, what, value, advice string) {
	d.findings = append(d.findings, finding{result, what, plain(value), advice})
}

func (a *app) doctor(ctx context.Context, out format) error {
	d := &doctor{findings: []finding{}}
	stuck := false
	if path, ok := sqlitePath(a.url); ok {
		var err error
		if stuck, err = d.examineFile(ctx, path); err != nil {
			return err
		}
	}
	server, err := engine.Examine(ctx, a.url)
	if err != nil {
		return err
	}
	for _, f := range server {
		d.add(string(f.Result), f.What, f.Value, f.Advice)
	}
	if stuck {
		d.add(isNote, "engine", "not opened, because that would wait for the write lock", "")
	} else if err := a.doctorEngine(ctx, d); len(server) > 0 && err != nil {
		d.add(isWrong, "engine", err.Error(), "") // what was found says why
	} else if err != nil {
		return err
	}
	if err := a.printFindings(d.findings, out); err != nil {
		return err
	}
	wrong := int64(0)
	for _, f := range d.findings {
		if f.Result == isWrong {
			wrong++
		}
	}
	switch wrong {
	case 0:
		return nil
	case 1:
		return checkError{"1 thing is wrong"}
	}
	return checkError{comma(wrong) + " things are wrong"}
}

func (a *app) doctorEngine(ctx context.Context, d *doctor) error {
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	f := bus.Features()
	result := isOK
	if f.Durability < driver.Power {
		result = isNote
	}
	if f.Ephemeral {
		d.add(isNote, "durability", "none: an event reaches whoever listens when it is published, and is gone", f.Setting)
		return nil
	}
	d.findings = slices.DeleteFunc(d.findings, func(x finding) bool { // the server has said so, in fewer words
		return x.What == "durability" && x.Value == f.Durability.String()
	})
	d.add(result, "durability", fmt.Sprintf("%s: accepted events survive %s", f.Durability, survives(f.Durability)),
		f.Setting)
	if err := d.examineTopics(ctx, bus); err != nil {
		return err
	}
	return d.examineGroups(ctx, bus)
}

func survives(c driver.Class) string {
	switch c {
	case driver.Process:
		return "kill -9 of every process, and not a power failure"
	case driver.Power:
		return "a power failure"
	case driver.Quorum:
		return "the loss of a minority of nodes"
	}
	return "nothing: they end with the process"
}

func (d *doctor) examineTopics(ctx context.Context, bus *deed.Bus) error {
	topics, ok := driver.As[driver.Topics](bus.Conn())
	if !ok {
		return nil
	}
	all, err := topics.Topics(ctx)
	if err != nil {
		return err
	}
	events := int64(0)
	for _, t := range all {
		events += t.Events
		if t.MaxBytes > 0 && float64(t.Bytes) >= fullAt*float64(t.MaxBytes) {
			d.add(isWrong, "topic "+t.Name, fmt.Sprintf("%s of at most %s are used; above that publishing fails",
				bytesText(t.Bytes), bytesText(t.MaxBytes)),
				"deed topics set "+t.Name+" --max-bytes raises the bound; deed lag --topic "+t.Name+" shows who is behind")
		}
	}
	d.add(isOK, "topics", plural(int64(len(all)), "topic")+" with "+plural(events, "event"), "")
	return nil
}

func (d *doctor) examineGroups(ctx context.Context, bus *deed.Bus) error {
	groups, ok := driver.As[driver.Groups](bus.Conn())
	if !ok {
		return nil
	}
	all, err := groups.Groups(ctx)
	if err != nil {
		return err
	}
	lags, err := lagsOf(ctx, bus, "", "")
	if err != nil {
		return err
	}
	behind := map[[2]string]standing{}
	for _, s := range standings(lags) {
		behind[[2]string{s.Group, s.Topic}] = s
	}
	for _, g := range all {
		d.examineGroup(g, behind[[2]string{g.Group, g.Topic}])
	}
	for _, l := range lags {
		if l.Status != "" {
			d.add(isNote, "group "+l.Group, fmt.Sprintf("%s, partition %d: %s", l.Topic, l.Partition, l.Status), "")
		}
	}
	d.add(isOK, "groups", plural(int64(len(all)), "group"), "")
	return nil
}

func (d *doctor) examineGroup(g driver.GroupInfo, s standing) {
	name := "group " + g.Group
	at := g.Group + " --topic " + g.Topic
	switch groupState(g) {
	case "paused":
		d.add(isNote, name, "paused on "+g.Topic+", "+plural(s.Events, "event")+" behind",
			"deed groups resume "+at)
	case "abandoned":
		held := "has handled all of " + g.Topic
		result := isNote
		if s.Events > 0 || s.Parked > 0 {
			result = isWrong
			held = "holds back " + plural(s.Events+s.Parked, "event") + " of " + g.Topic
			if !s.Oldest.IsZero() {
				held += ", the first stored " + ago(s.Oldest)
			}
		}
		d.add(result, name, "abandoned: no member for "+span(time.Since(g.LastSeen).Truncate(time.Second))+"; it "+held,
			"run its service, or deed groups rm "+at)
	}
	if s.Dead > 0 {
		d.add(isWrong, name, fmt.Sprintf("%s on %s, and %s parked behind such", plural(s.Dead, "dead letter"), g.Topic,
			plural(s.Parked, "event")), "deed dlq ls --group "+at)
	}
	if g.Dropped > 0 {
		d.add(isWrong, name, fmt.Sprintf("%s of %s removed before it had handled them",
			plural(g.Dropped, "event"), g.Topic), "deed topics set "+g.Topic+" --hold makes them wait longer; "+
			"on Kafka the topic's retention.ms does")
	}
}

func (a *app) printFindings(all []finding, out format) error {
	if out == asJSON {
		return a.printJSON(map[string]any{"url": withoutPassword(a.url), "findings": all})
	}
	var b strings.Builder
	width := 0
	for _, f := range all {
		width = max(width, len(f.What))
	}
	for _, f := range all {
		fmt.Fprintf(&b, "%-5s  %-*s  %s\n", f.Result, width, f.What, f.Value)
		if f.Advice != "" {
			fmt.Fprintf(&b, "%*s  %s\n", 7+width, "", f.Advice)
		}
	}
	_, err := io.WriteString(output{a.stdout}, b.String())
	return err
}

// withoutPassword is a URL that may be shown.
func withoutPassword(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	if _, host, ok := strings.Cut(rest, "@"); ok {
		return scheme + "://" + host
	}
	return url
}
