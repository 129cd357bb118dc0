package driverkit

import (
	"cmp"
	"context"
	"slices"

	"github.com/deedgo/deed/driver"
)

// book is the side log that a state keeps for a log. The log's partitions have other names
// there.
type book struct {
	state   driver.Conn
	side    driver.SideLog
	letters driver.Letters
	place   func(topic string, partition int) (shadow string, at int)             // in the state
	named   func(shadow string, at int) (topic string, partition int, known bool) // its reverse
}

// inState is a claim as the state knows it.
func (b *book) inState(cl driver.Claim) driver.Claim {
	cl.Topic, cl.Partition = b.place(cl.Topic, cl.Partition)
	return cl
}

// inLog names the log's topics in records of the state, and leaves out those of others.
func (b *book) inLog(ls []driver.Letter) []driver.Letter {
	out := ls[:0]
	for _, l := range ls {
		if topic, p, ok := b.named(l.Topic, l.Partition); ok {
			l.Topic, l.Partition = topic, p
			out = append(out, l)
		}
	}
	return out
}

// Park implements [driver.SideLog].
func (b *book) Park(ctx context.Context, cl driver.Claim, ps []driver.Parked) error {
	renamed := slices.Clone(ps)
	at := b.inState(cl)
	for i := range renamed {
		renamed[i].Letter.Topic, renamed[i].Partition = at.Topic, at.Partition
	}
	return b.side.Park(ctx, at, renamed)
}

// Unpark implements [driver.SideLog].
func (b *book) Unpark(ctx context.Context, cl driver.Claim, positions []string) ([]string, error) {
	return b.side.Unpark(ctx, b.inState(cl), positions)
}

// Due implements [driver.SideLog].
func (b *book) Due(ctx context.Context, cl driver.Claim, limit int) ([]driver.Letter, error) {
	ls, err := b.side.Due(ctx, b.inState(cl), limit)
	return b.inLog(ls), err
}

// Chain implements [driver.SideLog].
func (b *book) Chain(ctx context.Context, cl driver.Claim, key string, limit int) ([]driver.Letter, error) {
	ls, err := b.side.Chain(ctx, b.inState(cl), key, limit)
	return b.inLog(ls), err
}

// ParkedKeys implements [driver.SideLog].
func (b *book) ParkedKeys(ctx context.Context, cl driver.Claim, limit int) ([]string, error) {
	return b.side.ParkedKeys(ctx, b.inState(cl), limit)
}

// SetMarks implements [driver.SideLog].
func (b *book) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	return b.side.SetMarks(ctx, b.inState(cl), ms)
}

// Marks implements [driver.SideLog].
func (b *book) Marks(ctx context.Context, cl driver.Claim) ([]driver.Mark, error) {
	return b.side.Marks(ctx, b.inState(cl))
}

// List implements [driver.Letters] for all topics of the log.
func (b *book) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	limit := cmp.Or(f.Limit, 1000)
	f.Limit = limit
	var out []driver.Letter
	for {
		ls, err := b.letters.List(ctx, f)
		if err != nil {
			return nil, err
		}
		full := len(ls) == limit
		if full {
			f.After = ls[limit-1].ID
		}
		if out = append(out, b.inLog(ls)...); len(out) >= limit || !full {
			return out[:min(len(out), limit)], nil
		}
	}
}

// Redrive implements [driver.Letters].
func (b *book) Redrive(ctx context.Context, ids []int64) (int, error) {
	return b.letters.Redrive(ctx, ids)
}

// Discard implements [driver.Letters].
func (b *book) Discard(ctx context.Context, ids []int64) (int, error) {
	return b.letters.Discard(ctx, ids)
}

// Edit implements [driver.Letters].
func (b *book) Edit(ctx context.Context, id int64, e driver.Edit) error {
	return b.letters.Edit(ctx, id, e)
}

// apart returns the positions above a group's that its present run has in the side log. The
// state has the topic as shadow.
func (b *book) apart(
	ctx context.Context, l *driver.PartitionLag, shadow string, run int,
) (map[string]bool, error) {
	const page = 1000
	f := driver.LetterFilter{Group: l.Group, Topic: shadow, Limit: page}
	at := make(map[string]bool)
	for {
		ls, err := b.letters.List(ctx, f)
		if err != nil {
			return nil, err
		}
		full := len(ls) == page
		if full {
			f.After = ls[page-1].ID
		}
		for _, letter := range b.inLog(ls) {
			if letter.Partition == l.Partition && letter.Run == run && above(letter.Position, l.Position) {
				at[letter.Position] = true
			}
		}
		if !full {
			return at, nil
		}
	}
}

// runs returns how often each group was reset.
func runs(ctx context.Context, c driver.Groups) (map[key]int, error) {
	all, err := c.Groups(ctx)
	runs := make(map[key]int, len(all))
	for _, g := range all {
		runs[key{g.Group, g.Topic}] = g.Run
	}
	return runs, err
}
