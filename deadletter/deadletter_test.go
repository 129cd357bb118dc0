package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

type order struct {
	ID  string
	N   int
	Bad bool
}

var (
	orders  = deed.NewTopic("orders", nil)
	created = deed.NewType(orders, "orders.created", 1, func(o order) string { return o.ID })
)

func openBus(t *testing.T) *deed.Bus {
	t.Helper()
	conn, err := deedmem.Open(t.Context(), "mem:", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := deed.New(conn, &deed.Options{Source: "/test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func publish(t *testing.T, b *deed.Bus, os ...order) {
	t.Helper()
	var drafts []deed.Draft
	for _, o := range os {
		drafts = append(drafts, created.New(o))
	}
	if err := b.Publish(t.Context(), drafts...); err != nil {
		t.Fatal(err)
	}
}

// handleUntil runs group g with a handler until cond holds.
func handleUntil(t *testing.T, b *deed.Bus, g string, cond func() bool, handle func(order) error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, deed.Subscribe(g, nil,
			deed.On(created, func(_ context.Context, e deed.Received[order]) error { return handle(e.Data) })))
	}()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
			continue
		case <-deadline:
			t.Error("what was waited for does not happen")
		}
		break
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func rejectBad(o order) error {
	if o.Bad {
		return deed.Reject(fmt.Errorf("order %s is bad", o.ID))
	}
	return nil
}

func letters(t *testing.T, b *deed.Bus, f *deadletter.Filter) []deadletter.Letter {
	t.Helper()
	var all []deadletter.Letter
	for l, err := range deadletter.List(t.Context(), b, f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func countLetters(t *testing.T, b *deed.Bus, n int) func() bool {
	return func() bool { return len(letters(t, b, nil)) == n && behind(t, b) }
}

// behind reports whether nothing is left to handle.
func behind(t *testing.T, b *deed.Bus) bool {
	t.Helper()
	groups, _ := driver.As[driver.Groups](b.Conn())
	lags, err := groups.Lag(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(lags, func(l driver.PartitionLag) bool { return l.Events > 0 })
}

func TestListShowRedriveDiscard(t *testing.T) {
	b := openBus(t)
	publish(t, b, order{"a", 1, false}, order{"a", 2, true}, order{"a", 3, false},
		order{"b", 4, true}, order{"c", 5, false})
	handleUntil(t, b, "g", countLetters(t, b, 2), rejectBad)

	all := letters(t, b, nil)
	for _, l := range all {
		if l.Group != "g" || l.Topic != "orders" || l.Reason != "rejected" || l.Attempts != 1 || l.Redriven || l.Aside ||
			l.Failed.IsZero() || l.StoredAt.IsZero() || !regexp.MustCompile(`^\d+-\d+$`).MatchString(l.Position) {
			t.Errorf("an odd letter: %+v", l)
		}
	}
	a := letters(t, b, &deadletter.Filter{Key: "a"})
	if len(a) != 1 || a[0].Error != "order a is bad" || a[0].Event.Type != "orders.created" ||
		a[0].Event.Source != "/test" {
		t.Fatalf("of key a: %+v", a)
	}
	if l, behind, err := deadletter.Show(t.Context(), b, a[0].ID); err != nil || behind != 1 || l.Event.Key != "a" {
		t.Errorf("show: %+v, %d, %v", l, behind, err)
	}
	for what, f := range map[string]*deadletter.Filter{
		"another group": {Group: "h"}, "another topic": {Topic: "t"}, "another type": {Type: "orders.shipped"},
		"another error": {Error: regexp.MustCompile("good")}, "later": {Since: time.Now().Add(time.Hour)},
		"another id": {IDs: []int64{99}},
	} {
		if got := letters(t, b, f); len(got) > 0 {
			t.Errorf("%s finds %+v", what, got)
		}
	}

	// A redriven event is handled before what waits behind it.
	ofA := &deadletter.Filter{Error: regexp.MustCompile("order a")}
	if n, err := deadletter.Redrive(t.Context(), b, ofA, nil); err != nil || n != 1 {
		t.Fatalf("redrive: %d, %v", n, err)
	}
	if a = letters(t, b, &deadletter.Filter{Key: "a"}); len(a) != 1 || !a[0].Redriven {
		t.Errorf("after redrive: %+v", a)
	}
	var handled []int
	handleUntil(t, b, "g", countLetters(t, b, 1), func(o order) error {
		handled = append(handled, o.N)
		return nil
	})
	if !slices.Equal(handled, []int{2, 3}) {
		t.Errorf("handled %v (want 2 and 3)", handled)
	}

	if n, err := deadletter.Discard(t.Context(), b, nil); err != nil || n != 1 {
		t.Errorf("discard: %d, %v", n, err)
	}
	if left := letters(t, b, nil); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

// More letters than a page holds are all listed, and all redriven.
func TestManyPages(t *testing.T) {
	const n = 501
	b := openBus(t)
	for i := range n {
		publish(t, b, order{fmt.Sprint(i), i, true})
	}
	handleUntil(t, b, "g", countLetters(t, b, n), rejectBad)
	missing, err := deadletter.Missing(t.Context(), b, []int64{1, n, n + 1})
	if err != nil || !slices.Equal(missing, []int64{n + 1}) {
		t.Errorf("missing: %v, %v", missing, err)
	}
	if got, err := deadletter.Redrive(t.Context(), b, nil, nil); err != nil || got != n {
		t.Errorf("redrove %d, %v (want %d)", got, err, n)
	}
	if got, err := deadletter.Redrive(t.Context(), b, nil, nil); err != nil || got != 0 {
		t.Errorf("redrove %d again, %v", got, err)
	}
	handleUntil(t, b, "g", countLetters(t, b, 0), func(order) error { return nil })
}

func TestAbsent(t *testing.T) {
	b := openBus(t)
	if _, _, err := deadletter.Show(t.Context(), b, 7); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("showing nothing: %v", err)
	}
	plain, err := deed.New(plainConn{b.Conn()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range deadletter.List(t.Context(), plain, nil) {
		if err == nil || !strings.Contains(err.Error(), "mem keeps no dead letters") {
			t.Errorf("an engine without dead letters: %v", err)
		}
	}
	if _, err := deadletter.Discard(t.Context(), plain, nil); err == nil {
		t.Error("an engine without dead letters discards them")
	}
}

// plainConn hides what else an engine can do.
type plainConn struct{ driver.Conn }
