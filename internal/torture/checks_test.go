package torture

import (
	"fmt"
	"slices"
	"testing"
)

// script writes a history by hand, one operation after the other.
type script struct {
	now int64
	ops []Op
}

func (s *script) add(ops ...Op) {
	for _, op := range ops {
		s.now += 10
		op.Time = s.now
		s.ops = append(s.ops, op)
	}
}

// goodHistory is a run without a fault: three keys in two partitions, "b" with a
// poisoned second event that is parked and redriven, "c" with an account, whose second
// change was rolled back.
func goodHistory() []Op {
	s := &script{}
	facts := []Fact{
		newFact("a", 1, false), newFact("a", 2, false), newFact("a", 3, false),
		newFact("b", 1, false), newFact("b", 2, true), newFact("b", 3, false),
		newFact("c", 1, false),
	}
	for _, f := range facts {
		s.add(f.op(Invoke), f.op(OK))
	}
	for _, group := range []string{Effects, Plain} {
		s.add(Op{Do: Grant, Group: group, Proc: "consumer-0.1", Epoch: 1})
		for i, f := range facts {
			if f.Key != "b" || f.KV == 1 {
				s.handle(group, f, i)
			}
		}
		s.add(Op{Do: Settle, Group: group, Since: s.now, Proc: "consumer-0.1", Epoch: 1, Pos: "7"})
		s.letter(group, facts[4], 4, "dead")
		s.letter(group, facts[5], 5, "behind")
		s.handle(group, facts[4], 4)
		s.handle(group, facts[5], 5)
	}
	for i, f := range facts {
		op := f.op(Stored)
		op.Pos = fmt.Sprintf("0-%d", i+1)
		s.add(op)
	}
	rolledBack := newFact("c", 2, false)
	s.add(rolledBack.op(Rollback), Op{Do: Account, Key: "c", KV: 1, Sum: uint32(amount(1))})
	for key, n := range map[string]int64{"a": 3, "b": 3, "c": 1} {
		op := Op{Do: Ledger, Key: key, KV: n, N: n}
		for kv := range n {
			op.Sum += uint32(amount(kv + 1))
		}
		s.add(op)
	}
	return s.ops
}

func (s *script) handle(group string, f Fact, i int) {
	deliver, done := f.op(Deliver), f.op(Done)
	if group == Effects {
		done = f.op(Effect)
	}
	deliver.Group, done.Group = group, group
	deliver.Pos = fmt.Sprintf("0-%d", i+1)
	s.add(deliver, done)
}

func (s *script) letter(group string, f Fact, i int, state string) {
	op := f.op(Letter)
	op.Group, op.Pos, op.State = group, fmt.Sprintf("%d", i+1), state
	s.add(op)
}

func TestChecksAcceptAGoodHistory(t *testing.T) {
	for name, n := range violations(goodHistory()) {
		t.Errorf("%s found %d violations in a good history", name, n)
	}
}

// Where an engine stores again what is published again, the first time counts, and the
// second waits behind what it waits behind.
func TestChecksAcceptWhatIsStoredAgain(t *testing.T) {
	s := &script{ops: goodHistory()}
	s.now = s.ops[len(s.ops)-1].Time
	a, b := newFact("a", 2, false).op(Stored), newFact("b", 2, true)
	dead := b.op(Stored)
	a.Pos, dead.Pos = "0-8", "0-9"
	s.add(a, dead)
	for _, group := range []string{Effects, Plain} {
		s.letter(group, b, 8, "behind")
	}
	h := NewHistory(s.ops)
	for _, again := range []bool{true, false} {
		h.Again = again
		for _, c := range Checks {
			found := c.Find(h)
			if want := !again && (c.Name == "dup_stored" || c.Name == "order"); want != (len(found) > 0) {
				t.Errorf("again %v: check %s found %q", again, c.Name, found)
			}
		}
	}
}

// violations runs all checks and returns how much each found, if anything.
func violations(ops []Op) map[string]int {
	h := NewHistory(ops)
	h.Dense = true
	found := map[string]int{}
	for _, c := range Checks {
		if n := len(c.Find(h)); n > 0 {
			found[c.Name] = n
		}
	}
	return found
}

// is selects operations of a kind about one event.
func is(do Do, group, id string) func(Op) bool {
	return func(op Op) bool { return op.Do == do && op.Group == group && op.ID == id }
}

func without(ops []Op, match func(Op) bool) []Op { return slices.DeleteFunc(ops, match) }

// change edits the operations that match.
func change(ops []Op, match func(Op) bool, edit func(*Op)) []Op {
	for i := range ops {
		if match(ops[i]) {
			edit(&ops[i])
		}
	}
	return ops
}

// again repeats the operations that match at the end.
func again(ops []Op, match func(Op) bool) []Op {
	s := &script{now: ops[len(ops)-1].Time, ops: ops}
	for _, op := range slices.Clone(ops) {
		if match(op) {
			s.add(op)
		}
	}
	return s.ops
}

func TestChecksRefuseABadHistory(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(ops []Op) []Op
		want []string // the checks that have to see it, and no other may
	}{
		{"an acknowledged event is not in the topic", func(ops []Op) []Op {
			return without(ops, is(Stored, "", "c/1"))
		}, []string{"lost", "ledger", "balance"}},
		{"an acknowledged event has no effect", func(ops []Op) []Op {
			return without(ops, is(Effect, Effects, "a/3"))
		}, []string{"lost"}},
		{"an effect is missing in the middle of a key", func(ops []Op) []Op {
			return without(ops, is(Effect, Effects, "a/2"))
		}, []string{"lost", "skip"}},
		{"the plain group never finished an event", func(ops []Op) []Op {
			return without(ops, is(Done, Plain, "a/3"))
		}, []string{"lost"}},
		{"an event that nobody published is delivered", func(ops []Op) []Op {
			return without(ops, func(op Op) bool { return op.ID == "c/1" && (op.Do == Invoke || op.Do == OK) })
		}, []string{"unexpected"}},
		{"an event of a transaction that was rolled back is delivered", func(ops []Op) []Op {
			return change(without(ops, is(OK, "", "c/1")), is(Invoke, "", "c/1"), func(op *Op) { op.Do = Rollback })
		}, []string{"ghosts"}},
		{"a committed event is not in the topic", func(ops []Op) []Op {
			return change(ops, func(op Op) bool { return op.Do == Account }, func(op *Op) { op.KV++ })
		}, []string{"balance"}},
		{"a payload changed on its way", func(ops []Op) []Op {
			return change(ops, is(Stored, "", "a/1"), func(op *Op) { op.Sum++ })
		}, []string{"unexpected"}},
		{"an event is stored twice", func(ops []Op) []Op {
			ops = again(ops, is(Stored, "", "c/1"))
			ops[len(ops)-1].Pos = "0-8"
			return ops
		}, []string{"dup_stored"}},
		{"an effect happened twice", func(ops []Op) []Op {
			return again(ops, is(Effect, Effects, "a/3"))
		}, []string{"dup_effects"}},
		{"effects of a key are swapped", func(ops []Op) []Op {
			return swap(ops, is(Effect, Effects, "a/1"), is(Effect, Effects, "a/2"))
		}, []string{"order"}},
		{"events of a key are stored in the wrong order", func(ops []Op) []Op {
			ops = without(ops, func(op Op) bool { return op.Do == Deliver || op.Do == Letter })
			return swap(ops, is(Stored, "", "a/1"), is(Stored, "", "a/2"))
		}, []string{"order", "dlq", "positions"}},
		{"a handler starts before its predecessor is done", func(ops []Op) []Op {
			return swap(ops, is(Done, Plain, "a/1"), is(Deliver, Plain, "a/2"))
		}, []string{"order"}},
		{"a position is missing", func(ops []Op) []Op {
			return change(ops, func(op Op) bool { return op.ID == "c/1" && op.Pos != "" }, func(op *Op) { op.Pos = "0-9" })
		}, []string{"positions"}},
		{"a position named another event before", func(ops []Op) []Op {
			return change(ops, is(Deliver, Plain, "a/3"), func(op *Op) { op.Pos = "0-7" })
		}, []string{"positions"}},
		{"a zombie settles", func(ops []Op) []Op {
			s := &script{now: ops[len(ops)-1].Time, ops: ops}
			s.add(Op{Do: Grant, Group: Plain, Proc: "consumer-1.1", Epoch: 2, Pos: "7"})
			s.add(Op{Do: Settle, Group: Plain, Since: s.now + 1, Proc: "consumer-0.1", Epoch: 1, Pos: "7"})
			return s.ops
		}, []string{"two_owners"}},
		{"a position goes back", func(ops []Op) []Op {
			s := &script{now: ops[len(ops)-1].Time, ops: ops}
			s.add(Op{Do: Grant, Group: Plain, Proc: "consumer-1.1", Epoch: 2, Pos: "6"})
			return s.ops
		}, []string{"regress"}},
		{"a poisoned event is not dead", func(ops []Op) []Op {
			return without(ops, is(Letter, Plain, "b/2"))
		}, []string{"dlq"}},
		{"a poisoned event is accepted where handlers are lenient", func(ops []Op) []Op {
			s := &script{now: ops[len(ops)-1].Time, ops: without(ops, is(Letter, Plain, "b/2"))}
			s.add(Op{Do: Lenient})
			return s.ops
		}, nil},
		{"an innocent event is dead where handlers are lenient", func(ops []Op) []Op {
			s := &script{now: ops[len(ops)-1].Time, ops: ops}
			f := newFact("a", 3, false)
			s.add(Op{Do: Letter, Group: Plain, ID: "a/3", Key: "a", KV: 3, Sum: f.sum(), Pos: "3", State: "dead"})
			s.add(Op{Do: Lenient})
			return s.ops
		}, []string{"dlq"}},
		{"an innocent event is dead", func(ops []Op) []Op {
			ops = again(ops, is(Letter, Plain, "b/2"))
			op := &ops[len(ops)-1]
			f := newFact("a", 3, false)
			op.ID, op.Key, op.KV, op.Sum, op.Pos = "a/3", "a", 3, f.sum(), "3"
			return ops
		}, []string{"dlq"}},
		{"a letter is left", func(ops []Op) []Op {
			s := &script{now: ops[len(ops)-1].Time, ops: ops}
			s.add(Op{Do: Left, Group: Plain, ID: "b/2", State: "dead"})
			return s.ops
		}, []string{"left"}},
		{"a group does not get to the end", func(ops []Op) []Op {
			s := &script{now: ops[len(ops)-1].Time, ops: ops}
			s.add(Op{Do: Lag, Group: Plain, N: 1})
			return s.ops
		}, []string{"unseen"}},
		{"a total is wrong", func(ops []Op) []Op {
			return change(ops, func(op Op) bool { return op.Do == Ledger && op.Key == "a" }, func(op *Op) { op.Sum++ })
		}, []string{"ledger"}},
		{"a key has no total", func(ops []Op) []Op {
			return without(ops, func(op Op) bool { return op.Do == Ledger && op.Key == "c" })
		}, []string{"ledger"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := violations(tc.harm(goodHistory()))
			for _, name := range tc.want {
				if got[name] == 0 {
					t.Errorf("check %s did not see it", name)
				}
				delete(got, name)
			}
			if len(got) > 0 {
				t.Errorf("other checks found something too: %v", got)
			}
		})
	}
}

// swap exchanges the times of two operations.
func swap(ops []Op, a, b func(Op) bool) []Op {
	i, j := slices.IndexFunc(ops, a), slices.IndexFunc(ops, b)
	ops[i].Time, ops[j].Time = ops[j].Time, ops[i].Time
	return ops
}

func TestAZombieMaySettleWhatItBeganInTime(t *testing.T) {
	got := violations(append(goodHistory(),
		Op{Do: Grant, Group: Plain, Time: 9000, Epoch: 2, Pos: "7"},
		Op{Do: Settle, Group: Plain, Since: 8990, Time: 9010, Epoch: 1, Pos: "7"}))
	if len(got) > 0 {
		t.Errorf("a settlement that raced with the take-over is no violation: %v", got)
	}
}

func TestAnUnknownOutcomeIsNoLoss(t *testing.T) {
	f := newFact("d", 1, false)
	unknown := Op{Do: Invoke, ID: f.id(), Key: f.Key, KV: 1, Sum: f.sum(), Time: 1}
	if got := violations(append(goodHistory(), unknown)); len(got) > 0 {
		t.Errorf("an event without acknowledgement need not be there: %v", got)
	}
}
