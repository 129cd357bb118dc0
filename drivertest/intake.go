package drivertest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
)

var intakeChecks = []Check{
	{
		Name:    "intake-commit",
		Promise: "What is published in a transaction comes when that has committed, and never when it was rolled back.",
		Why:     "An event without its effect, or an effect without its event, is what an outbox is there to prevent.",
		Takes:   implements[driver.Intake](noIntake),
		Joint:   true,
		Run:     checkIntakeCommit,
	},
	{
		Name:    "intake-before-publish",
		Promise: "An event of a committed transaction goes before what is published to its key after that.",
		Why:     "A consumer would see the second state of a thing before the first.",
		Takes:   implements[driver.Intake](noIntake),
		Joint:   true,
		Run:     checkIntakeFirst,
	},
	{
		Name:    "intake-sequenced-once",
		Promise: "Each event gets one position, in the order of its transaction, however many callers sequence.",
		Why:     "Several relays run at once, as services do.",
		Takes:   implements[driver.Intake](noIntake),
		Joint:   true,
		Run:     checkIntakeOnce,
	},
	{
		Name:    "intake-absent-topic",
		Promise: "Publishing to an absent topic in a transaction is ErrNotFound.",
		Why:     "It is not found out after the commit, when it is too late.",
		Takes:   implements[driver.Intake](noIntake),
		Joint:   true,
		Run:     checkIntakeAbsent,
	},
}

const noIntake = "takes no events in a transaction of a service"

// publishIn publishes in a transaction that commits.
func (e *Env) publishIn(bs ...driver.Batch) {
	e.t.Helper()
	e.tx(func(ctx context.Context, tx *sql.Tx) error {
		return capability[driver.Intake](e).PublishIn(ctx, tx, bs)
	})
}

// sequenceAll gives positions until there is no more to do.
func sequenceAll(ctx context.Context, conn driver.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	intake, _ := driver.As[driver.Intake](conn)
	for more := true; more; {
		var err error
		if more, err = intake.Sequence(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wantUnsequenced checks that nothing waits for its position.
func (e *Env) wantUnsequenced(want int) {
	e.t.Helper()
	got, err := capability[driver.Intake](e).Unsequenced(e.t.Context())
	if err != nil || got != want {
		e.t.Errorf("%d events are without a position, %v (want %d)", got, err, want)
	}
}

func checkIntakeCommit(t T, e *Env) {
	intake := capability[driver.Intake](e)
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.conn, info.Name, "group")
	m.owns(1)
	e.undone(func(ctx context.Context, tx *sql.Tx) error {
		return intake.PublishIn(ctx, tx, []driver.Batch{batch(info, 0, numbered(1, 2)...)})
	})
	e.must("sequence", sequenceAll(t.Context(), e.conn))
	m.quiet("its transaction was rolled back")
	want := numbered(3, 2)
	e.publishIn(batch(info, 0, want...))
	e.must("sequence", sequenceAll(t.Context(), e.conn))
	e.wantUnsequenced(0)
	got := m.take(2)
	for i := range got {
		sameMessage(t, &got[i].Message, &want[i])
	}
	m.quiet("everything has come")
}

func checkIntakeFirst(_ T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publishIn(batch(info, 0, message("1", "k"), message("2", "k")))
	e.publish(e.open(), batch(info, 0, message("3", "k")))
	e.publishIn(batch(info, 0, message("4", "k")))
	e.publish(e.conn, batch(info, 0, message("5", "k")))
	e.wantUnsequenced(0)
	m := e.join(e.conn, info.Name, "group")
	if got, want := ids(m.take(5)), []string{"1", "2", "3", "4", "5"}; !slices.Equal(got, want) {
		e.t.Errorf("the events come as %v, want %v", got, want)
	}
}

func checkIntakeOnce(t T, e *Env) {
	const rounds, size, callers = 10, 20, 3
	intake := capability[driver.Intake](e)
	info := e.topic(driver.TopicSettings{Partitions: 2})
	var waits []func() error
	for range callers {
		conn := e.open()
		waits = append(waits, e.meanwhile(func() error {
			for done := 0; done < rounds; done++ {
				if err := sequenceAll(t.Context(), conn); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for r := range rounds {
		e.tx(func(ctx context.Context, tx *sql.Tx) error {
			return intake.PublishIn(ctx, tx, []driver.Batch{
				batch(info, 0, numbered(1+r*size, size)...), batch(info, 1, numbered(1001+r*size, size)...)})
		})
	}
	for _, wait := range waits {
		e.must("sequence", wait())
	}
	e.must("sequence", sequenceAll(t.Context(), e.conn))
	m := e.join(e.conn, info.Name, "group")
	m.take(2 * rounds * size)
	for p, first := range []int{1, 1001} {
		for i, d := range of(m.got, p) {
			if want := fmt.Sprint(first + i); d.ID != want {
				t.Fatalf("partition %d: event %s comes where %s is next", p, d.ID, want)
			}
		}
	}
}

func checkIntakeAbsent(t T, e *Env) {
	absent := driver.TopicInfo{Name: e.freshName(), Generation: 1}
	err := e.harness.Database.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return capability[driver.Intake](e).PublishIn(ctx, tx, []driver.Batch{batch(absent, 0, numbered(1, 1)...)})
	})
	e.wantErr("publishing to an absent topic in a transaction", err, driver.ErrNotFound)
}
