package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// abandonedAfter is how long a group without members counts as running late; then
// it holds events for nobody.
const abandonedAfter = 24 * time.Hour

func newGroups(a *app) *cobra.Command {
	return group("groups", "List, show, pause, resume and remove groups",
		newGroupsList(a), newGroupsShow(a), newGroupsRemove(a),
		newGroupsPause(a, "pause", "Stop a group's members from fetching", true),
		newGroupsPause(a, "resume", "Let a paused group's members fetch again", false))
}

// groupDoc is a group on a topic in JSON.
type groupDoc struct {
	Group    string     `json:"group"`
	Topic    string     `json:"topic"`
	State    string     `json:"state"`
	Members  []string   `json:"members"`
	Events   int64      `json:"events"`
	Parked   int64      `json:"parked"`
	Dead     int64      `json:"dead"`
	Paused   bool       `json:"paused"`
	Run      int        `json:"run"`
	Created  *time.Time `json:"created"`
	LastSeen *time.Time `json:"last_seen"`
}

// groupState is what an operator has to know first.
func groupState(g driver.GroupInfo) string {
	switch {
	case g.Paused:
		return "paused"
	case len(g.Members) > 0:
		return "running"
	case !g.LastSeen.IsZero() && time.Since(g.LastSeen) > abandonedAfter:
		return "abandoned"
	}
	return "stopped"
}

// groupInfos returns the groups of that name, on that topic unless it is "". There
// has to be one; the error names the nearest.
func groupInfos(ctx context.Context, groups driver.Groups, group, topic string) ([]driver.GroupInfo, error) {
	if err := deed.CheckName("group", group); err != nil {
		return nil, usageError{err.Error()}
	}
	all, err := groups.Groups(ctx)
	if err != nil {
		return nil, err
	}
	var found []driver.GroupInfo
	var names []string
	for _, g := range all {
		if topic != "" && g.Topic != topic {
			continue
		}
		if g.Group == group {
			found = append(found, g)
		}
		if !slices.Contains(names, g.Group) {
			names = append(names, g.Group)
		}
	}
	if len(found) == 0 {
		return nil, absent("group", group, names)
	}
	return found, nil
}

func newGroupsList(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the groups",
		Long: "List the groups with their members and how far they are behind. One without a member for 24 h is\n" +
			"abandoned: it holds events back for nobody.",
		Example: "  deed groups\n" +
			"  deed groups ls -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			bus, err := a.open(cmd.Context(), toRead)
			if err != nil {
				return err
			}
			defer bus.Close()
			groups, err := groupsOf(bus)
			if err != nil {
				return err
			}
			all, err := groups.Groups(cmd.Context())
			if err != nil {
				return err
			}
			lags, err := lagsOf(cmd.Context(), bus, "", "")
			if err != nil {
				return err
			}
			return a.printGroups(all, standings(lags), out)
		},
	}
	out.addFlag(cmd)
	return cmd
}

func (a *app) printGroups(all []driver.GroupInfo, lags []standing, out format) error {
	docs := make([]groupDoc, len(all))
	for i, g := range all {
		docs[i] = groupDoc{
			Group: g.Group, Topic: g.Topic, State: groupState(g), Members: append([]string{}, g.Members...),
			Paused: g.Paused, Run: g.Run, Created: stamp(g.Created), LastSeen: stamp(g.LastSeen),
		}
		for _, l := range lags {
			if l.Group == g.Group && l.Topic == g.Topic {
				docs[i].Events, docs[i].Parked, docs[i].Dead = l.Events, l.Parked, l.Dead
			}
		}
	}
	if out == asJSON {
		return a.printJSON(map[string]any{"groups": docs})
	}
	if len(docs) == 0 {
		a.say("no groups yet")
		return nil
	}
	t := newTable("GROUP", "TOPIC", "STATE", ">MEMBERS", ">BEHIND", ">PARKED", ">DEAD", "LAST SEEN", "CREATED")
	for i, d := range docs {
		t.add(d.Group, d.Topic, d.State, comma(int64(len(d.Members))), comma(d.Events), comma(d.Parked), comma(d.Dead),
			ago(all[i].LastSeen), ago(all[i].Created))
	}
	return t.print(a)
}

func newGroupsShow(a *app) *cobra.Command {
	var out format
	var topic string
	cmd := &cobra.Command{
		Use:   "show GROUP",
		Short: "Show a group's members and its standing on every partition",
		Long:  "Show a group's members and its standing on every partition of its topics.",
		Example: "  deed groups show billing\n" +
			"  deed groups show billing --topic orders -o json",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.groupsShow(cmd, args[0], topic, out) },
	}
	cmd.Flags().StringVar(&topic, "topic", "", "on this `topic` only")
	out.addFlag(cmd)
	return cmd
}

func (a *app) groupsShow(cmd *cobra.Command, group, topic string, out format) error {
	ctx := cmd.Context()
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	lags, err := lagsOf(ctx, bus, group, topic)
	if err != nil {
		return err
	}
	groups, err := groupsOf(bus)
	if err != nil {
		return err
	}
	infos, err := groupInfos(ctx, groups, group, topic)
	if err != nil {
		return err
	}
	if err := a.printGroups(infos, standings(lags), out); err != nil || out == asJSON {
		return err
	}
	for _, g := range infos {
		if len(g.Members) > 0 {
			a.say("members on %s: %s", g.Topic, plain(strings.Join(g.Members, ", ")))
		}
	}
	return a.printLag(lags, standings(lags))
}

func newGroupsRemove(a *app) *cobra.Command {
	var topic string
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm GROUP",
		Short: "Forget a group with its positions and dead letters",
		Long: "Forget a group with its positions and dead letters. It says what it would do, and does it with --yes. A\n" +
			"group with running members is refused.",
		Example: "  deed groups rm report --yes\n" +
			"  deed groups rm report --topic orders --yes",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.groupsEach(cmd, args[0], topic, func(groups driver.Groups, g driver.GroupInfo, s standing) error {
				err := a.confirm(yes, "forget group "+g.Group+" on "+g.Topic+" with "+plural(s.Events, "event")+" not handled, "+
					plural(s.Parked, "parked event")+" and "+plural(s.Dead, "dead letter"))
				if err != nil {
					return err
				}
				err = groups.DeleteGroup(cmd.Context(), g.Group, g.Topic)
				if errors.Is(err, driver.ErrBusy) {
					return hint(err, "stop its members first")
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&topic, "topic", "", "on this `topic` only")
	addYes(cmd, &yes)
	return cmd
}

func newGroupsPause(a *app, use, short string, pause bool) *cobra.Command {
	var topic string
	cmd := &cobra.Command{
		Use:   use + " GROUP",
		Short: short,
		Long:  short + ". It stays so until it is changed, whatever members come and go.",
		Example: "  deed groups " + use + " billing\n" +
			"  deed groups " + use + " billing --topic orders",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.groupsEach(cmd, args[0], topic, func(groups driver.Groups, g driver.GroupInfo, _ standing) error {
				if err := groups.PauseGroup(cmd.Context(), g.Group, g.Topic, pause); err != nil {
					return err
				}
				a.say("group %s on %s: %sd", g.Group, g.Topic, use)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&topic, "topic", "", "on this `topic` only")
	return cmd
}

// groupsEach does something for a group on each of its topics.
func (a *app) groupsEach(
	cmd *cobra.Command, group, topic string, do func(driver.Groups, driver.GroupInfo, standing) error,
) error {
	ctx := cmd.Context()
	bus, err := a.open(ctx, toRead)
	if err != nil {
		return err
	}
	defer bus.Close()
	lags, err := lagsOf(ctx, bus, group, topic)
	if err != nil {
		return err
	}
	groups, err := groupsOf(bus)
	if err != nil {
		return err
	}
	infos, err := groupInfos(ctx, groups, group, topic)
	if err != nil {
		return err
	}
	for _, g := range infos {
		s := standing{}
		for _, l := range standings(lags) {
			if l.Topic == g.Topic {
				s = l
			}
		}
		if err := do(groups, g, s); err != nil {
			return err
		}
	}
	return nil
}
