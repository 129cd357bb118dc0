package driverkit

import (
	"cmp"
	"slices"
)

// View is how a group stands on one topic.
type View struct {
	Gone   bool     // the group or topic was deleted
	Paused bool     // members keep their partitions and fetch nothing
	Seats  []string // with a live lease, in any order
	Shares []Share  // every partition, in any order
}

// Share is one partition in a View.
type Share struct {
	Partition int
	Owner     string // the seat that owns it, "" after a clean release
	Live      bool   // the owner's lease has not run out
	Epoch     int64
}

// Take is a partition to acquire if its owner and epoch are still those.
type Take struct {
	Partition int
	Owner     string
	Epoch     int64
}

// holding is what a seat has locally: partitions it was granted, by epoch.
type holding struct {
	epoch     int64
	wanted    bool // reported Wanted, to be released
	releasing bool // a Settle with Release is on its way
}

// decision is what a seat does about a View.
type decision struct {
	take []Take
	want []int
	lost []int
}

// divide decides what seat self takes, gives up and has lost. It is pure, and all
// members that see the same view agree: nobody holds more than its share rounded
// up while somebody else lacks its share rounded down, and what a member has it
// keeps when it can.
func divide(v View, self string, held map[int]holding) decision {
	var d decision
	owned := make(map[int]Share, len(held)) // ours in the store under the epoch we hold
	var free []Share
	var stale []Take                             // ours in the store, from before our own lease lapsed
	counts := make(map[string]int, len(v.Seats)) // partitions by live seat
	for _, s := range v.Seats {
		counts[s] = 0
	}
	for _, s := range v.Shares {
		_, seated := counts[s.Owner]
		h, have := held[s.Partition]
		switch {
		case s.Owner == self && have && h.epoch == s.Epoch:
			owned[s.Partition] = s
			if seated {
				counts[self]++
			}
		case s.Owner == self && seated && !h.releasing:
			counts[self]++ // as the other members see it
			stale = append(stale, Take{Partition: s.Partition, Owner: s.Owner, Epoch: s.Epoch})
		case s.Owner == self || !s.Live || !seated:
			free = append(free, s)
		default:
			counts[s.Owner]++
		}
	}
	for p, h := range held {
		if _, ok := owned[p]; !ok && !h.releasing {
			d.lost = append(d.lost, p)
		}
	}
	slices.Sort(d.lost)
	if _, seated := counts[self]; !seated || v.Gone {
		return d
	}
	free = slices.DeleteFunc(free, func(s Share) bool { return held[s.Partition].releasing })
	// What is stale nobody else takes, however many partitions we have: taken back, it
	// can be handed over.
	d.take = append(stale, takes(v, self, counts, free)...)
	d.want = wants(v, self, counts, len(free), held, owned)
	return d
}

// takes chooses what self acquires of the free partitions: up to its share rounded
// down, and up to its share rounded up of what no other member lacks. Members start
// at different places, so that they seldom want the same partition.
func takes(v View, self string, counts map[string]int, free []Share) []Take {
	floor, ceil := bounds(v)
	mine := counts[self]
	n := min(max(0, floor-mine), len(free))
	if spare := len(free) - lacking(counts, floor); spare > 0 {
		n += min(spare, ceil-max(floor, mine))
	}
	n = min(n, len(free))
	if n <= 0 {
		return nil
	}
	slices.SortFunc(free, func(a, b Share) int { return cmp.Compare(a.Partition, b.Partition) })
	seats := slices.Sorted(slices.Values(v.Seats))
	start := slices.Index(seats, self) * len(free) / len(seats)
	take := make([]Take, 0, n)
	for i := range n {
		s := free[(start+i)%len(free)]
		take = append(take, Take{Partition: s.Partition, Owner: s.Owner, Epoch: s.Epoch})
	}
	return take
}

// wants chooses what self gives up: what it has above its share rounded up, and,
// when free partitions do not fill what others lack, one at a time from whoever has
// most.
func wants(
	v View, self string, counts map[string]int, free int, held map[int]holding, owned map[int]Share,
) []int {
	floor, ceil := bounds(v)
	left := make(map[string]int, len(counts))
	for seat, n := range counts {
		left[seat] = n
	}
	give := 0
	for missing := lacking(counts, floor) - free; missing > 0; missing-- {
		richest := ""
		for seat, n := range left {
			if richest == "" || n > left[richest] || n == left[richest] && seat < richest {
				richest = seat
			}
		}
		if left[richest] <= floor {
			break
		}
		left[richest]--
		if richest == self {
			give++
		}
	}
	give = max(give, counts[self]-ceil)
	var keep, want []int
	for p := range owned {
		if h := held[p]; h.wanted || h.releasing {
			give-- // already on its way
		} else {
			keep = append(keep, p)
		}
	}
	slices.Sort(keep)
	for ; give > 0 && len(keep) > 0; give-- {
		want = append(want, keep[len(keep)-1])
		keep = keep[:len(keep)-1]
	}
	return want
}

// bounds returns a member's share, rounded down and up.
func bounds(v View) (floor, ceil int) {
	n := len(v.Seats)
	return len(v.Shares) / n, (len(v.Shares) + n - 1) / n
}

// lacking counts the partitions that members are short of floor.
func lacking(counts map[string]int, floor int) int {
	n := 0
	for _, c := range counts {
		n += max(0, floor-c)
	}
	return n
}
