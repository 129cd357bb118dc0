package deed

import (
	"cmp"
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
	// Skip lets the group go on ahead of events that it has not handled, and leave
	// them out. Without it a reset that would do so is a [SkipError].
	Skip bool
	// DryRun returns the error that the reset would, and changes nothing.
	DryRun bool
}

// SkipError says how many events a reset would leave out that the group has not
// handled; see ResetOptions.Skip. Nothing was reset.
type SkipError struct{ Events int64 }

// Error says so in a sentence.
func (e *SkipError) Error() string {
	return fmt.Sprintf("%d events that the group has not handled would be left out (allow it with ResetOptions.Skip)",
		e.Events)
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
	if !ok || !b.features.Reset {
		return fmt.Errorf("%s cannot reset groups%s: %w", b.features.Engine, b.features.Otherwise(),
			errors.ErrUnsupported)
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
	if !o.Skip {
		if n, err := b.skipped(ctx, group, topic, to); err != nil || n > 0 {
			return cmp.Or(err, error(&SkipError{n}))
		}
	}
	from, err := to.driver()
	if err != nil || o.DryRun {
		return err
	}
	err = resetter.ResetGroup(ctx, group, topic, driver.Reset{To: from, Quiet: o.Quiet, Fence: o.Fence})
	if errors.Is(err, driver.ErrBusy) {
		err = fmt.Errorf("%w: %s (stop them, or say --fence)", err, strings.Join(info.Members, ", "))
	}
	return err
}

// skipped counts the events that lie between a group and a place ahead of it.
func (b *Bus) skipped(ctx context.Context, group, topic string, to From) (int64, error) {
	if to.isZero() {
		return 0, nil
	}
	groups, ok := driver.As[driver.Groups](b.conn)
	browser, ok2 := driver.As[driver.Browser](b.conn)
	if !ok || !ok2 {
		return 0, fmt.Errorf("%s does not tell what that leaves out (allow it with ResetOptions.Skip): %w",
			b.features.Engine, errors.ErrUnsupported)
	}
	lags, err := groups.Lag(ctx, group, topic)
	if err != nil {
		return 0, err
	}
	ends, err := browser.Ends(ctx, topic)
	if err != nil {
		return 0, err
	}
	r := &reader{ctx: ctx, browser: browser, topic: topic}
	targets, err := r.resolve(to, ends)
	if err == nil && to.cursor != "" {
		err = r.within(targets, ends)
	}
	if err != nil {
		return 0, err
	}
	var n int64
	for _, l := range lags {
		between, err := b.between(ctx, browser, l, targets[l.Partition])
		if err != nil {
			return 0, err
		}
		n += between
	}
	return n, nil
}

// between counts the events from where a group stands to a position of the partition,
// none when that is behind it.
func (b *Bus) between(ctx context.Context, browser driver.Browser, l driver.PartitionLag, to string) (int64, error) {
	if to == "" {
		return 0, nil
	}
	o := ReadOptions{To: FromCursor(Cursor(position(l.Partition, to)))}
	if l.Position != "" {
		if order, err := browser.Compare(to, l.Position); err != nil || order <= 0 {
			return 0, err
		}
		o.From = FromCursor(Cursor(position(l.Partition, l.Position)))
	}
	if to == l.End {
		return l.Events, nil
	}
	var n int64
	for _, err := range b.Read(ctx, l.Topic, &o) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
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
