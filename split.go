package deed

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// split prepares the drafts and divides them by partition, in order.
func (b *Bus) split(ctx context.Context, drafts []Draft, r *request) error {
	if err := b.place(ctx, drafts, r); err != nil {
		return err
	}
	rest := r.messages
	for i := range r.parts {
		p := &r.parts[i]
		p.messages, rest = rest[:0:p.count], rest[p.count:]
	}
	prepare := preparation{source: b.opts.Source, parent: handlingOf(ctx)}
	for i := range drafts {
		d, p := &drafts[i], &r.parts[r.place[i]]
		prepare.events = len(drafts) - i
		e, err := prepare.event(d)
		if err == nil {
			err = b.admit(&e, d.NotBefore)
		}
		if err != nil {
			return draftError(i, len(drafts), d, err)
		}
		p.messages = append(p.messages, e.message())
		p.messages[len(p.messages)-1].NotBefore = d.NotBefore
		p.bytes += len(e.Data)
	}
	return nil
}

func draftError(i, n int, d *Draft, err error) error {
	name := d.Type
	if name == "" {
		name = "event"
	}
	if n == 1 {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s, draft %d of %d: %w", name, i+1, n, err)
}

// place finds each draft's part.
func (b *Bus) place(ctx context.Context, drafts []Draft, r *request) error {
	var room [1]division
	all := room[:0]  // mostly one
	var in *division // that of the draft before
	spread := b.publisher.spread.Add(1)
	for i := range drafts {
		d := &drafts[i]
		if in == nil || d.topic != drafts[i-1].topic {
			info, err := b.topic(ctx, d.topic)
			if err != nil {
				return err
			}
			k := slices.IndexFunc(all, func(d division) bool { return d.info.Name == info.Name })
			if k < 0 {
				k = len(all)
				all = append(all, division{info, len(r.table)})
				r.table = append(r.table, make([]int, max(info.Partitions, 1))...)
			}
			in = &all[k]
		}
		partition := partitionFor(in.info, &d.Event, spread)
		at := &r.table[in.table+partition]
		if *at == 0 {
			r.parts = append(r.parts, part{info: in.info, partition: partition})
			*at = len(r.parts)
		}
		r.parts[*at-1].count++
		r.place[i] = *at - 1
	}
	return nil
}

// division is the drafts of one topic.
type division struct {
	info  *driver.TopicInfo
	table int // where its partitions are in the request's table
}

// preparation completes drafts.
type preparation struct {
	source string
	parent *handling // nil outside of a handler
	events int       // how many are still to come, this one included
	now    time.Time // as the first event that asked has it
	ids    string    // made in advance
}

// event fills what a draft left empty, encodes its value and checks it.
func (p *preparation) event(d *Draft) (Event, error) {
	e := d.Event
	if d.codec != nil {
		data, err := d.codec.Encode(d.value)
		if err != nil {
			return e, fmt.Errorf("encode: %w", err)
		}
		e.Data = data
	}
	if e.ID == "" {
		e.ID = p.id()
	}
	if e.Source == "" {
		e.Source = p.source
	}
	if e.Time.IsZero() {
		if p.now.IsZero() {
			p.now = time.Now()
		}
		e.Time = p.now
	}
	e.Version = max(e.Version, 1)
	e.inherit(p.parent)
	return e, e.Validate()
}

// idBlock is how many IDs are made at once: whoever keeps one of them keeps the
// memory of all.
const idBlock = 32

func (p *preparation) id() string {
	if p.events == 1 {
		return NewID()
	}
	if p.ids == "" {
		p.ids = newIDs(min(p.events, idBlock))
	}
	id := p.ids[:idLen]
	p.ids = p.ids[idLen:]
	return id
}
