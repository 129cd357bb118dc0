package driverkit

import (
	"fmt"
	"slices"
	"testing"

	"github.com/deedgo/deed/driver"
)

// dealt is partitions with events of some sizes, which Deal empties.
type dealt [][]driver.Delivery

func newDealt(sizes ...[]int) (d dealt) {
	for p, of := range sizes {
		var ds []driver.Delivery
		for i, n := range of {
			m := driver.Message{ID: fmt.Sprintf("%d-%d", p, i), Data: make([]byte, n)}
			ds = append(ds, driver.Delivery{Message: m, Partition: p})
		}
		d = append(d, ds)
	}
	return d
}

func (d dealt) deal(f driver.Fetch, first int) (ids []string, next int) {
	out, next := Deal(f, first, len(d), func(p int) []driver.Delivery { return d[p] },
		func(p, events int) { d[p] = d[p][events:] })
	if out != nil && len(out) == 0 {
		return []string{"an empty answer"}, next
	}
	for _, x := range out {
		ids = append(ids, x.ID)
	}
	return ids, next
}

func TestDeal(t *testing.T) {
	for _, c := range []struct {
		what  string
		from  dealt
		fetch driver.Fetch
		first int
		want  []string
		next  int
	}{
		{"nothing", newDealt(nil, nil), driver.Fetch{Events: 5, Bytes: 5}, 1, nil, 1},
		{"all", newDealt([]int{1, 1}, []int{1}), driver.Fetch{Events: 5, Bytes: 5}, 1, []string{"1-0", "0-0", "0-1"}, 1},
		{"no events", newDealt([]int{1}), driver.Fetch{Bytes: 5}, 0, nil, 0},
		{"few events", newDealt([]int{1, 1}, []int{1}), driver.Fetch{Events: 1, Bytes: 5}, 0, []string{"0-0"}, 1},
		{"few bytes", newDealt([]int{2, 2}, []int{2}), driver.Fetch{Events: 5, Bytes: 3}, 0, []string{"0-0"}, 1},
		{"the last partition", newDealt(nil, []int{1, 1}), driver.Fetch{Events: 1, Bytes: 5}, 1, []string{"1-0"}, 0},
		{"one too large", newDealt([]int{9, 1}, nil), driver.Fetch{Events: 5, Bytes: 3}, 0, []string{"0-0"}, 1},
		{"one too large behind", newDealt([]int{1}, []int{9}), driver.Fetch{Events: 5, Bytes: 3}, 0, []string{"0-0"}, 1},
		{"all full", newDealt([]int{1}), driver.Fetch{Events: 5, Bytes: 5, Full: []int{0}}, 0, nil, 0},
		{"full", newDealt([]int{1}, []int{1}), driver.Fetch{Events: 5, Bytes: 5, Full: []int{0}}, 0, []string{"1-0"}, 0},
	} {
		ids, next := c.from.deal(c.fetch, c.first)
		if !slices.Equal(ids, c.want) || next != c.next {
			t.Errorf("%s: dealt %q, next %d, want %q and %d", c.what, ids, next, c.want, c.next)
		}
	}
}

// TestDealStarvesNobody deals one event at a time from partitions that always have more.
func TestDealStarvesNobody(t *testing.T) {
	d := newDealt([]int{1, 1, 1}, []int{1, 1, 1}, []int{1, 1, 1})
	var got []string
	for first := 0; len(got) < 6; {
		var ids []string
		if ids, first = d.deal(driver.Fetch{Events: 1, Bytes: 1}, first); len(ids) != 1 {
			t.Fatalf("%q are dealt, want one", ids)
		}
		got = append(got, ids...)
	}
	if want := []string{"0-0", "1-0", "2-0", "0-1", "1-1", "2-1"}; !slices.Equal(got, want) {
		t.Errorf("dealt %q, want %q", got, want)
	}
}
