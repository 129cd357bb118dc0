package torture

import (
	"fmt"
	"maps"
	"slices"
)

// replay holds group Replay to what a reset promises.
func replay(h *History) []string {
	if len(h.of(Reset)) == 0 {
		return nil
	}
	return slices.Concat(replayedTwice(h), replayedOutOfOrder(h), replayFlags(h), replayMissing(h))
}

// effectOf names an effect: one of an event live, whenever that was, and one of each
// run that replays it.
type effectOf struct {
	id  string
	run int // -1 for live
}

func replayEffect(op Op) effectOf {
	if op.Replay {
		return effectOf{op.ID, op.Run}
	}
	return effectOf{op.ID, -1}
}

func replayedTwice(h *History) []string {
	var found []string
	seen := map[effectOf]bool{}
	for _, op := range h.in(Replay, Effect) {
		e := replayEffect(op)
		if seen[e] {
			found = append(found, fmt.Sprintf("%s has two effects in run %d (replay %v)", op.ID, op.Run, op.Replay))
		}
		seen[e] = true
	}
	return found
}

func replayedOutOfOrder(h *History) []string {
	type keyInRun struct {
		key string
		run int
	}
	var found []string
	last := map[keyInRun]Op{}
	for _, op := range h.in(Replay, Effect) {
		k := keyInRun{op.Key, op.Run}
		if before := last[k]; op.KV < before.KV {
			found = append(found, fmt.Sprintf("in run %d the effect of %s came after that of %s", op.Run, op.ID, before.ID))
			continue
		}
		last[k] = op
	}
	return found
}

// partOfRun is a partition in one run of the group.
type partOfRun struct{ run, part int }

// runs is what is known about the group's runs, each partition by itself.
type runs struct {
	start     map[partOfRun]int64 // after which position it began
	quiet     map[int]bool
	committed map[partOfRun]int64 // the last position known to be settled in it
	last      int
}

func runsOf(h *History) runs {
	rs := runs{start: map[partOfRun]int64{}, quiet: map[int]bool{}, committed: map[partOfRun]int64{}}
	type grant struct {
		part  int
		epoch int64
	}
	byEpoch := map[grant]int{}
	for _, op := range h.in(Replay, Grant) {
		at, n := partOfRun{op.Run, op.Part}, int64(0)
		n, _ = ordinal(op.Pos)
		if old, ok := rs.start[at]; !ok || n < old {
			rs.start[at] = n
		}
		rs.quiet[op.Run], rs.last = op.Quiet, max(rs.last, op.Run)
		byEpoch[grant{op.Part, op.Epoch}] = op.Run
	}
	for _, op := range h.in(Replay, Settle) {
		at := partOfRun{byEpoch[grant{op.Part, op.Epoch}], op.Part}
		if n, _ := ordinal(op.Pos); op.Pos != "" {
			rs.committed[at] = max(rs.committed[at], n)
		}
	}
	return rs
}

// replayFlags finds deliveries that are no replay although the event was committed in
// an earlier run, and replays of events that no earlier run has met.
func replayFlags(h *History) []string {
	rs := runsOf(h)
	met := map[string]int{} // the first run that an event was delivered in
	for _, op := range h.in(Replay, Deliver) {
		if run, ok := met[op.ID]; !ok || op.Run < run {
			met[op.ID] = op.Run
		}
	}
	var found []string
	for _, op := range h.in(Replay, Deliver) {
		n, _ := ordinal(op.Pos)
		before := int64(0)
		for run := range op.Run {
			before = max(before, rs.committed[partOfRun{run, op.Part}])
		}
		if n <= before && !op.Replay {
			found = append(found, fmt.Sprintf("%s at %s is live in run %d, before which %d was committed",
				op.ID, op.Pos, op.Run, before))
		}
		if op.Replay && met[op.ID] == op.Run {
			found = append(found, fmt.Sprintf("%s at %s is a replay in run %d, the first that met it", op.ID, op.Pos, op.Run))
		}
		if op.Replay && rs.quiet[op.Run] {
			found = append(found, fmt.Sprintf("%s at %s was replayed to a handler in the quiet run %d", op.ID, op.Pos, op.Run))
		}
	}
	return found
}

// replayMissing finds events without a live effect, and events of a run's span that
// were replays in it and had no effect there.
func replayMissing(h *History) []string {
	rs := runsOf(h)
	has := map[effectOf]bool{}
	for _, op := range h.in(Replay, Effect) {
		has[replayEffect(op)] = true
	}
	met := committedBefore(rs)
	var found []string
	for _, id := range slices.Sorted(maps.Keys(h.stored)) {
		op := h.stored[id]
		n, _ := ordinal(op.Pos)
		if !has[effectOf{id, -1}] {
			found = append(found, fmt.Sprintf("%s at %s has no live effect in group %s", id, op.Pos, Replay))
		}
		for run := 1; run <= rs.last; run++ {
			at := partOfRun{run, op.Part}
			start, ran := rs.start[at]
			spanned := ran && n > start && (run == rs.last || n <= rs.committed[at])
			if spanned && n <= met[at] && !rs.quiet[run] && !has[effectOf{id, run}] {
				found = append(found, fmt.Sprintf("%s at %s was to be replayed in run %d and has no effect there", id, op.Pos, run))
			}
		}
	}
	return found
}

// committedBefore returns the position up to which a run's events are replays for
// sure: what was seen to be committed in the runs before it.
func committedBefore(rs runs) map[partOfRun]int64 {
	before := map[partOfRun]int64{}
	for at := range rs.start {
		for run := range at.run {
			before[at] = max(before[at], rs.committed[partOfRun{run, at.part}])
		}
	}
	return before
}
