package torture

import (
	"fmt"
	"maps"
	"slices"
)

// Check looks for one kind of broken promise in a history.
type Check struct {
	Name string
	// Why says which promise it holds the bus to.
	Why string
	// Find describes each violation on a line of its own.
	Find func(h *History) []string
}

// Checks are all checks, in the order in which a result lists them.
var Checks = []Check{
	{"lost", "an acknowledged event is in the topic and was handled by every group", lost},
	{"unexpected", "nothing is stored or handled that nobody published, and no byte of it has changed", unexpected},
	{"ghosts", "nothing is stored or handled of a transaction that was rolled back", ghosts},
	{"dup_stored", "an event published again inside the topic's id window is stored once", dupStored},
	{"dup_effects", "a handler's effect with an inbox happens once", dupEffects},
	{"order", "events of one key are stored and handled in publish order, one at a time", order},
	{"skip", "no group passes over an event and goes on with its key", skip},
	{"positions", "the positions of a partition grow, and each names one event for every reader", positions},
	{"two_owners", "a member that lost its partition cannot settle it", twoOwners},
	{"regress", "a group's position never goes back", regress},
	{"dlq", "rejected events and their keys' tails are dead letters and parked, nothing else is", dlq},
	{"left", "after the redrive with a fixed handler the side log is empty", left},
	{"unseen", "every group gets to the end of every partition", unseen},
	{"replay", "a reset replays what was committed before, each effect once a run, and in order", replay},
	{"ledger", "the totals that handlers kept are those of the events in the topic", ledger},
	{"balance", "what transactions committed is in the topic, each version of a key once", balance},
}

func lost(h *History) []string {
	var found []string
	effects, done := ids(h.in(Effects, Effect)), ids(h.in(Plain, Done))
	for _, id := range slices.Sorted(maps.Keys(h.acked)) {
		switch {
		case h.stored[id].ID == "":
			found = append(found, id+" was acknowledged and is not in the topic")
		case !effects[id]:
			found = append(found, fmt.Sprintf("%s at %s has no effect", id, h.stored[id].Pos))
		case !done[id]:
			found = append(found, fmt.Sprintf("%s at %s was not handled by group %s", id, h.stored[id].Pos, Plain))
		}
	}
	return found
}

func unexpected(h *History) []string {
	var found []string
	rolledBack := ids(h.of(Rollback)) // which is a finding of its own
	for _, op := range h.Ops {
		switch op.Do {
		case Stored, Deliver, Effect, Letter:
		default:
			continue
		}
		want, ok := h.invoked[op.ID]
		switch {
		case !ok && rolledBack[op.ID]:
		case !ok:
			found = append(found, fmt.Sprintf("%s: %q was never published", op.Do, op.ID))
		case op.Sum != want.Sum || op.Key != want.Key || op.KV != want.KV:
			found = append(found, fmt.Sprintf("%s: %s is not what was published", op.Do, op.ID))
		}
	}
	return found
}

func ghosts(h *History) []string {
	var found []string
	rolledBack := ids(h.of(Rollback))
	for _, op := range h.Ops {
		if rolledBack[op.ID] && (op.Do == Stored || op.Do == Deliver || op.Do == Effect) {
			found = append(found, fmt.Sprintf("%s: the transaction of %s was rolled back", op.Do, op.ID))
		}
	}
	return found
}

func dupStored(h *History) []string {
	if h.Again {
		return nil
	}
	return duplicates(h.of(Stored), func(op Op) string { return op.Pos })
}

func dupEffects(h *History) []string {
	return duplicates(h.in(Effects, Effect), func(op Op) string { return op.Proc })
}

// duplicates describes every operation whose id an earlier one has.
func duplicates(ops []Op, where func(Op) string) []string {
	var found []string
	seen := map[string]Op{}
	for _, op := range ops {
		before, ok := seen[op.ID]
		if ok {
			found = append(found, fmt.Sprintf("%s at %s, and again at %s", op.ID, where(before), where(op)))
			continue
		}
		seen[op.ID] = op
	}
	return found
}

func order(h *History) []string {
	found := storedOutOfOrder(h)
	last := map[string]Op{}
	for _, op := range h.in(Effects, Effect) {
		if before := last[op.Key]; op.KV < before.KV {
			found = append(found, fmt.Sprintf("the effect of %s came after that of %s", op.ID, before.ID))
			continue
		}
		last[op.Key] = op
	}
	return append(found, startedEarly(h)...)
}

// storedOutOfOrder compares the topic with each key's order. A key has one
// publisher, so that its order is known.
func storedOutOfOrder(h *History) []string {
	var found []string
	last := map[string]Op{}
	for _, op := range h.of(Stored) {
		if h.Again && h.stored[op.ID].Pos != op.Pos {
			continue
		}
		if before := last[op.Key]; op.KV < before.KV {
			found = append(found, fmt.Sprintf("%s is stored at %s, behind %s", op.ID, op.Pos, before.ID))
			continue
		}
		last[op.Key] = op
	}
	return found
}

// startedEarly finds handlers that started before any handler of the key's
// previous event was done. Repeated deliveries may come at any time.
func startedEarly(h *History) []string {
	var found []string
	started, done := first(h.in(Plain, Deliver)), first(h.in(Plain, Done))
	for _, key := range slices.Sorted(maps.Keys(h.keys)) {
		events := h.keys[key]
		for i := 1; i < len(events); i++ {
			a, ok := done[events[i-1].ID]
			b, started := started[events[i].ID]
			if started && (!ok || b.Time < a.Time) {
				found = append(found, fmt.Sprintf("%s was handled before %s was done", events[i].ID, events[i-1].ID))
			}
		}
	}
	return found
}

func skip(h *History) []string {
	var found []string
	effects := ids(h.in(Effects, Effect))
	for _, key := range slices.Sorted(maps.Keys(h.keys)) {
		missing := ""
		for _, op := range h.keys[key] {
			switch {
			case !effects[op.ID]:
				missing = op.ID
			case missing != "":
				found = append(found, fmt.Sprintf("%s has no effect and %s after it has", missing, op.ID))
				missing = ""
			}
		}
	}
	return found
}

func unseen(h *History) []string {
	var found []string
	for _, op := range h.of(Lag) {
		found = append(found, fmt.Sprintf("group %s, partition %d: %d events not handled (at %s) %s",
			op.Group, op.Part, op.N, op.Pos, op.Err))
	}
	return found
}
