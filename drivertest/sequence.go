package drivertest

import (
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
)

var sequenceChecks = []Check{
	{
		Name:    "sequence-repeat",
		Promise: "A batch that is sent again succeeds and stores nothing, over another connection too.",
		Why:     "The answer to the first was lost on the way; the retry must not duplicate.",
		Needs:   needs(groups, sequence),
		Run:     checkSequenceRepeat,
	},
	{
		Name:    "sequence-overlap",
		Promise: "Of a batch that overlaps what is stored, only the rest is stored.",
		Why:     "After a restart a publisher does not cut its queue at the same places.",
		Needs:   needs(groups, sequence),
		Run:     checkSequenceOverlap,
	},
	{
		Name:    "sequence-gap",
		Promise: "A batch that starts after the next number is ErrGap, and nothing of it is stored.",
		Why:     "An earlier batch is missing; storing this one would break the order.",
		Needs:   needs(groups, sequence),
		Run:     checkSequenceGap,
	},
	{
		Name:    "sequence-asked",
		Promise: "A batch without messages stores nothing, and is ErrGap when something before it is not there.",
		Why:     "An outbox asks so whether the engine still has what it acknowledged.",
		Needs:   needs(groups, sequence),
		Run:     checkSequenceAsked,
	},
	{
		Name:    "sequence-is-its-producers",
		Promise: "Sequences count from 1 for every producer, topic and partition; without a producer nothing is checked.",
		Why:     "A producer that starts anew takes another name, and must be able to begin.",
		Needs:   needs(groups, sequence),
		Run:     checkSequencePerProducer,
	},
	{
		Name:    "sequence-concurrent-retries",
		Promise: "The same batch sent by several at once is stored once.",
		Why:     "A retry may overtake the first attempt, which is still on its way.",
		Needs:   needs(groups, sequence),
		Run:     checkSequenceConcurrent,
	},
}

// wantStored checks what the receipts say was stored.
func (e *Env) wantStored(what string, r driver.Receipt, want int) {
	e.t.Helper()
	if r.Stored != want {
		e.t.Errorf("%s: %d stored, want %d", what, r.Stored, want)
	}
}

// wantEvents checks that the topic's first partition holds these ids and no more.
func (e *Env) wantEvents(info driver.TopicInfo, want []driver.Message) {
	e.t.Helper()
	m := e.join(e.conn, info.Name, e.freshName())
	got := ids(m.take(len(want)))
	for i := range want {
		if got[i] != want[i].ID {
			e.t.Errorf("the topic holds %v, want 1 to %d", got, len(want))
			break
		}
	}
	m.quiet("it is stored twice")
}

func checkSequenceRepeat(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	ms := numbered(1, 5)
	b := produced(info, "producer", 1, ms...)
	e.wantStored("first", e.publish(e.conn, b)[0], 5)
	e.wantStored("again", e.publish(e.conn, b)[0], 0)
	e.wantStored("again, elsewhere", e.publish(e.open(), b)[0], 0)
	rs := e.publish(e.conn, b, produced(info, "producer", 6, numbered(6, 2)...), b)
	for i, want := range []int{0, 2, 0} {
		e.wantStored("in one call", rs[i], want)
	}
	e.wantEvents(info, numbered(1, 7))
}

func checkSequenceOverlap(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, produced(info, "producer", 1, numbered(1, 5)...))
	e.wantStored("3 to 8", e.publish(e.open(), produced(info, "producer", 3, numbered(3, 6)...))[0], 3)
	e.wantStored("2 to 4", e.publish(e.conn, produced(info, "producer", 2, numbered(2, 3)...))[0], 0)
	e.wantStored("9", e.publish(e.conn, produced(info, "producer", 9, numbered(9, 1)...))[0], 1)
	e.wantEvents(info, numbered(1, 9))
}

func checkSequenceGap(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.wantErr("a producer that starts with 2", e.publishErr(produced(info, "producer", 2, numbered(2, 1)...)),
		driver.ErrGap)
	e.publish(e.conn, produced(info, "producer", 1, numbered(1, 2)...))
	e.wantErr("5 after 2", e.publishErr(produced(info, "producer", 5, numbered(5, 2)...)), driver.ErrGap)
	e.publish(e.conn, produced(info, "producer", 3, numbered(3, 4)...)) // goes on as if nothing had been
	e.wantEvents(info, numbered(1, 6))
}

func checkSequenceAsked(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.wantStored("nothing, before anything", e.publish(e.conn, produced(info, "producer", 1))[0], 0)
	e.publish(e.conn, produced(info, "producer", 1, numbered(1, 3)...))
	for _, seq := range []int64{1, 3, 4} {
		e.wantStored("nothing, after 3", e.publish(e.open(), produced(info, "producer", seq))[0], 0)
	}
	e.wantErr("nothing, from 5 after 3", e.publishErr(produced(info, "producer", 5)), driver.ErrGap)
	e.wantErr("nothing, from 2 of another producer", e.publishErr(produced(info, "other", 2)), driver.ErrGap)
	e.publish(e.conn, produced(info, "producer", 4, numbered(4, 1)...)) // goes on as if nothing had been asked
	e.wantEvents(info, numbered(1, 4))
}

func checkSequencePerProducer(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	elsewhere := produced(info, "one", 1, numbered(1, 2)...)
	elsewhere.Partition = 1
	other := e.topic(driver.TopicSettings{Partitions: 1})
	for _, b := range []driver.Batch{
		produced(info, "one", 1, numbered(1, 2)...),
		produced(info, "two", 1, numbered(3, 2)...),
		elsewhere,
		produced(other, "one", 1, numbered(1, 2)...),
		batch(info, 0, numbered(5, 2)...),
		batch(info, 0, numbered(5, 2)...),
	} {
		e.wantStored("a sequence of its own", e.publish(e.conn, b)[0], 2)
	}
	m := e.join(e.conn, info.Name, "group")
	m.take(10)
	var first []string
	for _, d := range m.got {
		if d.Partition == 0 {
			first = append(first, d.ID)
		}
	}
	if want := []string{"1", "2", "3", "4", "5", "6", "5", "6"}; !slices.Equal(first, want) {
		t.Errorf("the partition holds %v, want %v", first, want)
	}
}

func checkSequenceConcurrent(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	conns := []driver.Conn{e.conn, e.open()}
	const rounds, senders, size = 5, 8, 4
	for round := range rounds {
		b := produced(info, "producer", int64(round*size+1), numbered(round*size+1, size)...)
		stored := make([]int, senders)
		errs := make([]error, senders)
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				rs, err := tryPublish(t.Context(), conns[i%2], b)
				if errs[i] = err; err == nil {
					stored[i] = rs[0].Stored
				}
			})
		}
		wg.Wait()
		total := 0
		for i := range senders {
			e.must("publish", errs[i])
			total += stored[i]
		}
		if total != size {
			t.Errorf("%d senders of one batch stored %d events in all, want %d", senders, total, size)
		}
	}
	e.wantEvents(info, numbered(1, rounds*size))
}
