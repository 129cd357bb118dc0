package inbox

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// notes is where a handler's transaction notes that events are handled.
type notes interface {
	// before reports which of the events were handled before.
	before(ctx context.Context, tx *sql.Tx, rs []receipt) ([]bool, error)
	// after comes last in a transaction that has handled the events.
	after(ctx context.Context, tx *sql.Tx, rs []receipt) error
}

// rows are notes in the inbox's own table. They are written first, so that of two that
// handle one event the second waits for the first.
type rows struct{ *Inbox }

func (n rows) before(ctx context.Context, tx *sql.Tx, rs []receipt) ([]bool, error) {
	before := make([]bool, len(rs))
	for i, r := range rs {
		fresh, err := n.insert(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		before[i] = !fresh
	}
	return before, nil
}

func (n rows) after(context.Context, *sql.Tx, []receipt) error { return nil }

// joint are notes with the engine, where the bus lives in the same database. They are
// written last: a claim is kept from moving for as long as the commit takes, and not for as
// long as the handler does.
type joint struct{ driver.Joint }

// before says of a quiet replay that it was handled, since the group had committed it.
func (n joint) before(ctx context.Context, tx *sql.Tx, rs []receipt) ([]bool, error) {
	before := make([]bool, len(rs))
	var asked []driver.Handled
	var index []int
	for i, r := range rs {
		e := r.handled()
		if before[i] = r.quiet || slices.Contains(asked, e); !before[i] {
			asked, index = append(asked, e), append(index, i)
		}
	}
	if len(asked) == 0 {
		return before, nil
	}
	found, err := n.HandledIn(ctx, tx, asked)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	for k, i := range index {
		before[i] = found[k]
	}
	return before, nil
}

func (n joint) after(ctx context.Context, tx *sql.Tx, rs []receipt) error {
	es := make([]driver.Handled, len(rs))
	for i, r := range rs {
		es[i] = r.handled()
	}
	if err := n.SettleIn(ctx, tx, es); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	return nil
}

func (r *receipt) handled() driver.Handled {
	return driver.Handled{Claim: r.claim, Position: r.position, Run: r.run}
}

// notesOf decides where it is noted that a delivery is handled, before a handler's
// transaction, which cannot.
func (in *Inbox) notesOf(ctx context.Context, d *deed.Delivery) (notes, error) {
	conn, _, _ := d.Held()
	engine, ok := driver.As[driver.Joint](conn)
	if ok && in.keep == 0 {
		hosts, err := in.hosted(ctx, engine)
		if err != nil {
			return nil, fmt.Errorf("inbox: %w", err)
		}
		if hosts {
			return joint{engine}, nil
		}
	}
	return rows{in}, in.prepare(ctx)
}

// hosted reports whether an engine lives in the inbox's database.
func (in *Inbox) hosted(ctx context.Context, engine driver.Joint) (bool, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if hosts, known := in.hosts[engine]; known {
		return hosts, nil
	}
	if err := in.Check(ctx); err != nil {
		return false, err
	}
	hosts, err := engine.Hosts(ctx, in.SQL(), string(in.Dialect()))
	if err != nil {
		return false, err
	}
	if in.hosts == nil {
		in.hosts = make(map[driver.Joint]bool)
	}
	in.hosts[engine] = hosts
	return hosts, nil
}
