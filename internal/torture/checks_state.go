package torture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ordinal reads the last number of a position, "3-1042" or "1042": how many events were
// stored in the partition by then. Where positions are dense it is the whole of one; on
// Redis a time goes before it. The empty position, before the first event, is 0.
func ordinal(pos string) (n int64, ok bool) {
	if pos == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(pos[strings.LastIndexByte(pos, '-')+1:], 10, 64)
	return n, err == nil
}

// place is a position within a partition, for every observer the same.
type place struct {
	part int
	n    int64
}

// positions grow, and without a hole where the engine promises that. What is at a place
// comes from the topic as it was read at the end and from every delivery before that.
func positions(h *History) []string {
	var found []string
	type view struct {
		place
		group string // "" where all see the same
	}
	at := map[view]string{}
	last := map[int]int64{}
	for _, op := range h.Ops {
		if op.Do != Stored && op.Do != Deliver && op.Do != Letter {
			continue
		}
		n, ok := ordinal(op.Pos)
		if !ok {
			found = append(found, fmt.Sprintf("%s: %s has the unreadable position %q", op.Do, op.ID, op.Pos))
			continue
		}
		seen := view{place: place{op.Part, n}}
		if h.Apart {
			seen.group = op.Group
		}
		if id, ok := at[seen]; ok && id != op.ID {
			found = append(found, fmt.Sprintf("position %d-%d is %s for one reader and %s for another", op.Part, n, id, op.ID))
		}
		at[seen] = op.ID
		if op.Do != Stored {
			continue
		}
		if n <= last[op.Part] || h.Dense && n != last[op.Part]+1 {
			found = append(found, fmt.Sprintf("partition %d goes from %d to %d", op.Part, last[op.Part], n))
		}
		last[op.Part] = n
	}
	return found
}

// claimed is one group's part of a topic.
type claimed struct {
	group string
	part  int
}

// byClaim sorts successful settlements and grants by group and partition, each in
// order of time.
func (h *History) byClaim() map[claimed][]Op {
	m := map[claimed][]Op{}
	for _, op := range h.Ops {
		if op.Do == Settle || op.Do == Grant {
			c := claimed{op.Group, op.Part}
			m[c] = append(m[c], op)
		}
	}
	return m
}

// twoOwners finds settlements that began after a newer epoch had been seen, and
// were stored all the same.
func twoOwners(h *History) []string {
	var found []string
	for c, ops := range h.byClaim() {
		newest := newestBefore(ops)
		for _, op := range ops {
			if op.Do != Settle {
				continue
			}
			if by := newest(op.Since); by.Epoch > op.Epoch {
				found = append(found, fmt.Sprintf("group %s, partition %d: %s settled %s with epoch %d after %s had epoch %d",
					c.group, c.part, op.Proc, op.Pos, op.Epoch, by.Proc, by.Epoch))
			}
		}
	}
	slices.Sort(found)
	return found
}

// newestBefore returns a function that finds the operation with the highest epoch
// among those which ended before a time. The ops are in order of time.
func newestBefore(ops []Op) func(t int64) Op {
	top := make([]Op, len(ops))
	for i, op := range ops {
		top[i] = op
		if i > 0 && top[i-1].Epoch > op.Epoch {
			top[i] = top[i-1]
		}
	}
	return func(t int64) Op {
		i, _ := slices.BinarySearchFunc(ops, t, func(op Op, t int64) int { return cmp.Compare(op.Time, t) })
		if i == 0 {
			return Op{}
		}
		return top[i-1]
	}
}

// regress follows each partition through its owners: by epoch, and by time within
// one epoch, since an owner settles a partition once at a time.
func regress(h *History) []string {
	var found []string
	for c, ops := range h.byClaim() {
		slices.SortStableFunc(ops, func(a, b Op) int {
			return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Time, b.Time))
		})
		var high int64
		run := 0
		for _, op := range ops {
			if op.Do == Grant && op.Run != run { // a reset is meant to go back
				run, high = op.Run, 0
			}
			if op.Do == Settle && op.Pos == "" {
				continue // leaves the position as it is
			}
			n, _ := ordinal(op.Pos)
			if n < high {
				found = append(found, fmt.Sprintf("group %s, partition %d went back from %d to %d (%s by %s, epoch %d)",
					c.group, c.part, high, n, op.Do, op.Proc, op.Epoch))
			}
			high = max(high, n)
		}
	}
	slices.Sort(found)
	return found
}

// dlq compares each group's side log with what follows from the topic: a poisoned
// event is dead, and all later events of its key wait behind it.
func dlq(h *History) []string {
	want := wantedLetters(h)
	if h.Apart {
		return dlqApart(h, want)
	}
	var found []string
	for _, group := range []string{Effects, Plain} {
		got := map[place]bool{}
		for _, op := range h.in(group, Letter) {
			n, _ := ordinal(op.Pos)
			at := place{op.Part, n}
			got[at] = true
			if state := want[at].State; !fits(h, op, state) {
				found = append(found, fmt.Sprintf("group %s: %s at %s is %s (%s), want %q",
					group, op.ID, op.Pos, op.State, op.Err, state))
			}
		}
		if len(h.of(Lenient)) > 0 {
			continue // some of it was accepted in time
		}
		for at, op := range want {
			if !got[at] {
				found = append(found, fmt.Sprintf("group %s: %s at %s is not in the side log, want %s",
					group, op.ID, op.Pos, op.State))
			}
		}
	}
	slices.Sort(found)
	return found
}

// wantedLetters returns the stored events that belong into the side log of each group, with
// the state that they belong there in.
func wantedLetters(h *History) map[place]Op {
	type at struct {
		place
		Op
	}
	keys := map[string][]at{}
	for _, op := range h.of(Stored) {
		n, _ := ordinal(op.Pos)
		keys[op.Key] = append(keys[op.Key], at{place{op.Part, n}, op})
	}
	want := map[place]Op{}
	for _, events := range keys {
		slices.SortFunc(events, func(a, b at) int { return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.n, b.n)) })
		state := ""
		for _, e := range events {
			switch {
			case state != "":
				state = "behind"
			case h.invoked[e.ID].State == poisoned:
				state = "dead"
			}
			if e.State = state; state != "" {
				want[e.place] = e.Op
			}
		}
	}
	return want
}

// fits reports whether a record's state is the one that follows from the topic.
// Where handlers are lenient a poisoned event may be dead in its own right, or wait
// behind another; and what is behind none may wait for its turn.
func fits(h *History, op Op, want string) bool {
	if len(h.of(Lenient)) == 0 {
		return op.State == want
	}
	if op.State == "dead" {
		return h.invoked[op.ID].State == poisoned
	}
	return want != ""
}

func left(h *History) []string {
	var found []string
	for _, op := range h.of(Left) {
		found = append(found, fmt.Sprintf("group %s: %s is still %s (%s)", op.Group, op.ID, op.State, op.Err))
	}
	return found
}

// balance compares accounts, which change in the transactions that publish, with the topic.
func balance(h *History) []string {
	var found []string
	for _, op := range h.of(Account) {
		var sum int64
		next := int64(1)
		for _, e := range h.keys[op.Key] {
			if e.KV != next {
				found = append(found, fmt.Sprintf("%s is stored where version %d was expected", e.ID, next))
			}
			next, sum = e.KV+1, sum+amount(e.KV)
		}
		if next-1 != op.KV || sum != int64(op.Sum) {
			found = append(found, fmt.Sprintf("key %s: its account is at version %d with %d, the topic at %d with %d",
				op.Key, op.KV, op.Sum, next-1, sum))
		}
	}
	return found
}

func ledger(h *History) []string {
	type total struct{ last, count, sum int64 }
	want := map[string]total{}
	for key, events := range h.keys {
		t := total{}
		for _, op := range events {
			t = total{last: op.KV, count: t.count + 1, sum: t.sum + amount(op.KV)}
		}
		want[key] = t
	}
	var found []string
	for _, op := range h.of(Ledger) {
		got := total{last: op.KV, count: op.N, sum: int64(op.Sum)}
		if got != want[op.Key] {
			found = append(found, fmt.Sprintf("key %s: the ledger has %+v, the topic %+v", op.Key, got, want[op.Key]))
		}
		delete(want, op.Key)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		found = append(found, fmt.Sprintf("key %s is not in the ledger", key))
	}
	return found
}
