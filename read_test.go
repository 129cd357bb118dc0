package deed_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
)

func read(t *testing.T, bus *deed.Bus, o deed.ReadOptions) []string {
	t.Helper()
	var ids []string
	for s, err := range bus.Read(t.Context(), "notes", &o) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	return ids
}

func TestReadSelects(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var middle time.Time
		var all []string
		for i := range 1000 {
			if i == 500 {
				middle = time.Now()
			}
			d := noted.New(note{fmt.Sprint("k", i%30), i})
			d.ID = fmt.Sprint(i)
			if err := bus.Publish(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			all = append(all, d.ID)
			time.Sleep(time.Millisecond)
		}
		var cursor deed.Cursor
		n := 0
		for s, err := range bus.Read(t.Context(), "notes", &deed.ReadOptions{Key: "k7"}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 10 {
				cursor = deed.Cursor(s.Position)
			}
		}
		for _, c := range []struct {
			name string
			o    deed.ReadOptions
			want []string
		}{
			{"all", deed.ReadOptions{}, all},
			{"from a time", deed.ReadOptions{From: deed.FromTime(middle)}, all[500:]},
			{"to a time", deed.ReadOptions{To: deed.FromTime(middle)}, all[:500]},
			{"from the end", deed.ReadOptions{From: deed.FromEnd()}, nil},
			{"the last", deed.ReadOptions{Last: 3}, all[997:]},
			{"the last before a time", deed.ReadOptions{Last: 2, To: deed.FromTime(middle)}, all[498:500]},
			{"the last after a time", deed.ReadOptions{Last: 2000, From: deed.FromTime(middle)}, all[500:]},
			{"the last of a key", deed.ReadOptions{Last: 2, Key: "k7"}, []string{"967", "997"}},
			{"another type", deed.ReadOptions{Type: "other"}, nil},
		} {
			if got := read(t, bus, c.o); !slices.Equal(got, c.want) {
				t.Errorf("%s: %d events %.80v…, want %d %.80v…", c.name, len(got), got, len(c.want), c.want)
			}
		}
		after := read(t, bus, deed.ReadOptions{From: deed.FromCursor(cursor), Key: "k7"})
		if len(after) != n-10 {
			t.Errorf("after the tenth of %d: %d", n, len(after))
		}
	})
}

func TestReadFollows(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		publish(t, bus, note{"a", 1})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := make(chan int, 10)
		go func() {
			defer close(got)
			for s, err := range bus.Read(ctx, "notes", &deed.ReadOptions{Follow: true}) {
				if err != nil {
					t.Error(err)
					return
				}
				n, err := noted.Decode(s.Event)
				if err != nil {
					t.Error(err)
				}
				got <- n.N
			}
		}()
		for n := 2; n <= 5; n++ {
			synctest.Wait()
			publish(t, bus, note{fmt.Sprint(n), n})
			time.Sleep(time.Second)
		}
		cancel()
		var all []int
		for n := range got {
			all = append(all, n)
		}
		if !slices.Equal(all, []int{1, 2, 3, 4, 5}) {
			t.Errorf("followed %v", all)
		}
	})
}

func TestReadNeverCreates(t *testing.T) {
	bus := openBus(t, "mem:")
	for _, err := range bus.Read(t.Context(), "absent", nil) {
		if err == nil {
			t.Error("an event of an absent topic")
		}
		return
	}
	t.Error("no error for an absent topic")
}
