package deed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/deedgo/deed/driver"
)

// ResetOptions say what a reset does to effects. With neither Effects nor Quiet a
// reset is refused unless all of the group's handlers are [ReplaySafe].
type ResetOptions struct {
	// Effects lets all handlers see replayed events: what they do happens again.
	Effects bool
	// Quiet keeps replayed events from handlers that are not replay-safe, and the
	// outbox and Publish silent in those that are.
	Quiet bool
	// Fence takes the partitions from running members, which then go on from the
	// new position. Without it running members are an error.
	Fence bool
}

// Reset sets the position of a group on a topic, back or forward. Events at or below
// what the group had committed before are replays from then on; what it meets for
// the first time is not. Parked events and dead letters stay.
func (b *Bus) Reset(ctx context.Context, group, topic string, to From, o ResetOptions) error {
	if err := b.reset(ctx, group, topic, to, o); err != nil {
		return fmt.Errorf("deed: reset: group %s, topic %s: %w", group, topic, err)
	}
	return nil
}

func (b *Bus) reset(ctx context.Context, group, topic string, to From, o ResetOptions) error {
	resetter, ok := driver.As[driver.Resetter](b.conn)
	if !ok {
		return fmt.Errorf("%s cannot reset groups: %w", b.features.Engine, errors.ErrUnsupported)
	}
	if o.Effects && o.Quiet {
		return errors.New("both effects and quiet are asked for (choose one)")
	}
	info, err := b.group(ctx, group, topic)
	if err != nil {
		return err
	}
	if !o.Effects && !o.Quiet && len(info.Unsafe) > 0 {
		return fmt.Errorf("handlers of %s are not replay-safe (say --effects to run them again, or --quiet to leave "+
			"them out; mark handlers with deed.ReplaySafe)", typeNames(info.Unsafe))
	}
	from, err := to.driver()
	if err != nil {
		return err
	}
	err = resetter.ResetGroup(ctx, group, topic, driver.Reset{To: from, Quiet: o.Quiet, Fence: o.Fence})
	if errors.Is(err, driver.ErrBusy) {
		err = fmt.Errorf("%w: %s (stop them, or say --fence)", err, strings.Join(info.Members, ", "))
	}
	return err
}

// group finds one group on one topic.
func (b *Bus) group(ctx context.Context, group, topic string) (driver.GroupInfo, error) {
	groups, ok := driver.As[driver.Groups](b.conn)
	if !ok {
		return driver.GroupInfo{}, fmt.Errorf("%s cannot tell about groups: %w", b.features.Engine, errors.ErrUnsupported)
	}
	all, err := groups.Groups(ctx)
	if err != nil {
		return driver.GroupInfo{}, err
	}
	for _, g := range all {
		if g.Group == group && g.Topic == topic {
			return g, nil
		}
	}
	return driver.GroupInfo{}, driver.ErrNotFound
}

// typeNames lists types for people; "" stands for any.
func typeNames(types []string) string {
	names := make([]string, len(types))
	for i, t := range types {
		if names[i] = t; t == "" {
			names[i] = "any type"
		}
	}
	return strings.Join(names, ", ")
}
