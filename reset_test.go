package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
)

// resettable fails a test whose engine cannot reset.
func resettable(t *testing.T, bus *deed.Bus) {
	t.Helper()
	if !bus.Features().Reset {
		t.Fatal("the engine cannot reset groups")
	}
}

func TestResetReplays(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		resettable(t, bus)
		echoes := deed.NewTopic("echoes", nil)
		echoed := deed.NewType(echoes, "note.echoed", 1, func(n note) string { return n.Key })
		seen := deed.NewType(notes, "note.seen", 1, func(n note) string { return n.Key })
		var safe, loud []string
		sub := deed.Subscribe("g", &deed.SubscribeOptions{Parallel: 1},
			deed.ReplaySafe(deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
				safe = append(safe, fmt.Sprint(e.Data.N, e.Replay, e.Quiet, e.Run))
				return bus.Publish(ctx, echoed.New(e.Data))
			})),
			deed.On(seen, func(ctx context.Context, e deed.Received[note]) error {
				loud = append(loud, fmt.Sprint(e.Data.N, e.Replay, e.Quiet, e.Run))
				return nil
			}))
		both := func(n int) {
			publish(t, bus, note{"k", n})
			if err := bus.Publish(t.Context(), seen.New(note{"k", n})); err != nil {
				t.Fatal(err)
			}
		}
		both(1)
		time.Sleep(time.Second)
		middle := time.Now()
		both(2)
		stop := start(t, bus, sub)
		time.Sleep(time.Second)
		if err := bus.Reset(t.Context(), "g", "notes", deed.FromTime(middle), deed.ResetOptions{Quiet: true}); err == nil {
			t.Error("a reset with running members")
		}
		stop()
		err := bus.Reset(t.Context(), "g", "notes", deed.FromTime(middle), deed.ResetOptions{})
		if err == nil || !strings.Contains(err.Error(), "note.seen are not replay-safe") {
			t.Errorf("a reset that says nothing of effects: %v", err)
		}
		if err := bus.Reset(t.Context(), "g", "notes", deed.FromTime(middle), deed.ResetOptions{Quiet: true}); err != nil {
			t.Fatal(err)
		}
		both(3)
		stop = start(t, bus, sub)
		time.Sleep(time.Second)
		stop()
		if err := bus.Reset(t.Context(), "g", "notes", deed.From{}, deed.ResetOptions{Effects: true}); err != nil {
			t.Fatal(err)
		}
		stop = start(t, bus, sub)
		time.Sleep(time.Second)
		stop()
		wantSafe := []string{"1 false false 0", "2 false false 0", "2 true true 1", "3 false false 1",
			"1 true false 2", "2 true false 2", "3 true false 2"}
		wantLoud := []string{"1 false false 0", "2 false false 0", "3 false false 1",
			"1 true false 2", "2 true false 2", "3 true false 2"}
		if !slices.Equal(safe, wantSafe) {
			t.Errorf("the replay-safe handler saw %q\nwant %q", safe, wantSafe)
		}
		if !slices.Equal(loud, wantLoud) {
			t.Errorf("the other handler saw %q\nwant %q", loud, wantLoud)
		}
		if got := len(stored(t, bus, "echoes")); got != 6 { // all but the quiet replay's
			t.Errorf("%d echoes, want 6", got)
		}
	})
}

func TestResetRefuses(t *testing.T) {
	bus := openBus(t, "mem:")
	resettable(t, bus)
	publish(t, bus, note{"k", 1})
	for name, c := range map[string]struct {
		group string
		o     deed.ResetOptions
		want  string
	}{
		"an unknown group": {"nobody", deed.ResetOptions{Quiet: true}, "not found"},
		"both":             {"nobody", deed.ResetOptions{Quiet: true, Effects: true}, "choose one"},
	} {
		err := bus.Reset(t.Context(), c.group, "notes", deed.From{}, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// A reset ahead of what the group has not handled is refused, and says how much that
// is, until it is allowed.
func TestResetSkips(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		resettable(t, bus)
		var handled []int
		sub := deed.Subscribe("g", &deed.SubscribeOptions{Parallel: 1},
			deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
				handled = append(handled, e.Data.N)
				return nil
			}))
		run := func() {
			stop := start(t, bus, sub)
			time.Sleep(time.Second)
			stop()
		}
		publish(t, bus, note{"a", 1}, note{"b", 2})
		run()
		publish(t, bus, note{"a", 3}, note{"b", 4})
		time.Sleep(time.Second)
		middle := time.Now()
		r, err := bus.PublishReceipt(t.Context(), noted.New(note{"a", 5}))
		if err != nil {
			t.Fatal(err)
		}
		reset := func(to deed.From, o deed.ResetOptions) error {
			o.Effects = true
			return bus.Reset(t.Context(), "g", "notes", to, o)
		}
		for name, c := range map[string]struct {
			to   deed.From
			want int64
		}{
			"to the end":    {deed.FromEnd(), 3},
			"to a time":     {deed.FromTime(middle), 2},
			"to a position": {deed.FromCursor(r.Cursor("notes")), 2}, // the one of key b is set back
			"to the start":  {deed.From{}, 0},
		} {
			var skip *deed.SkipError
			err := reset(c.to, deed.ResetOptions{DryRun: true})
			if errors.As(err, &skip) != (c.want > 0) || skip != nil && skip.Events != c.want {
				t.Errorf("a dry run %s: %v, want %d left out", name, err, c.want)
			}
			if c.want > 0 {
				if err := reset(c.to, deed.ResetOptions{}); !errors.As(err, &skip) {
					t.Errorf("a reset %s: %v", name, err)
				}
			}
		}
		if err := reset(deed.FromTime(middle), deed.ResetOptions{Skip: true}); err != nil {
			t.Error(err)
		}
		run()
		if want := []int{1, 2, 5}; !slices.Equal(slices.Sorted(slices.Values(handled)), want) {
			t.Errorf("handled %v, want %v", handled, want)
		}
	})
}

func TestWaitFor(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		handled := 0
		start(t, bus, deed.Subscribe("view", nil, deed.On(noted, func(context.Context, deed.Received[note]) error {
			time.Sleep(300 * time.Millisecond)
			handled++
			return nil
		})))
		r, err := bus.PublishReceipt(t.Context(), noted.New(note{"a", 1}))
		if err != nil {
			t.Fatal(err)
		}
		if err := bus.WaitFor(t.Context(), "view", "notes", r.Cursor("notes")); err != nil || handled != 1 {
			t.Errorf("after the wait %d handled, %v", handled, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if r, err = bus.PublishReceipt(t.Context(), noted.New(note{"a", 2})); err != nil {
			t.Fatal(err)
		}
		err = bus.WaitFor(ctx, "view", "notes", r.Cursor("notes"))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), string(r.Cursor("notes"))) {
			t.Errorf("a wait cut short: %v", err)
		}
	})
}
