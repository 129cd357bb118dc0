package deed

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// part is what one Publish call puts on one partition.
type part struct {
	info      *driver.TopicInfo
	partition int
	messages  []driver.Message
	count     int // how many messages there will be
	bytes     int

	receipt driver.Receipt
}

// split prepares the drafts and divides them by partition, in order.
func (b *Bus) split(ctx context.Context, drafts []Draft) (*request, error) {
	r := &request{done: make(chan struct{})}
	if err := b.place(ctx, drafts, r); err != nil {
		return nil, err
	}
	r.room = b.publisher.calls.borrow(len(drafts))
	rest := *r.room
	for _, p := range r.parts {
		p.messages, rest = rest[:0:p.count], rest[p.count:]
	}
	prepare := preparation{source: b.opts.Source, parent: handlingOf(ctx)}
	for i := range drafts {
		d, p := &drafts[i], r.place[i]
		prepare.events = len(drafts) - i
		e, err := prepare.event(d)
		if err == nil {
			err = b.admit(&e, d.NotBefore)
		}
		if err != nil {
			return nil, draftError(i, len(drafts), d, err)
		}
		p.messages = append(p.messages, e.message())
		p.messages[len(p.messages)-1].NotBefore = d.NotBefore
		p.bytes += len(e.Data)
	}
	return r, nil
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
	spread := b.publisher.spread.Add(1)
	if d := &drafts[0]; len(drafts) == 1 {
		info, err := b.topic(ctx, d.topic)
		if err != nil {
			return err
		}
		r.parts = []*part{{info: info, partition: partitionFor(info, &d.Event, spread), count: 1}}
		r.place = r.parts
		return nil
	}
	r.place = make([]*part, len(drafts))
	var all divisions
	var in *division // that of the draft before
	for i := range drafts {
		d := &drafts[i]
		if in == nil || d.topic != drafts[i-1].topic {
			info, err := b.topic(ctx, d.topic)
			if err != nil {
				return err
			}
			in = all.of(info)
		}
		partition := partitionFor(in.info, &d.Event, spread)
		p := in.parts[partition]
		if p == nil {
			p = &part{info: in.info, partition: partition}
			in.parts[partition] = p
			r.parts = append(r.parts, p)
		}
		p.count++
		r.place[i] = p
	}
	return nil
}

// divisions are the parts of a Publish call by topic, of which there is mostly one.
type divisions []*division

type division struct {
	info  *driver.TopicInfo
	parts []*part // by partition
}

// of returns the division of a topic.
func (ds *divisions) of(info *driver.TopicInfo) *division {
	for _, d := range *ds {
		if d.info.Name == info.Name {
			return d
		}
	}
	d := &division{info: info, parts: make([]*part, max(info.Partitions, 1))}
	*ds = append(*ds, d)
	return d
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
	return e, e.validate()
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

// rooms lends messages a place to be until an engine has them: they would be most
// of what publishing allocates.
type rooms struct{ pool sync.Pool }

// borrow returns room for n messages.
func (l *rooms) borrow(n int) *[]driver.Message {
	if room, ok := l.pool.Get().(*[]driver.Message); ok && cap(*room) >= n {
		*room = (*room)[:n]
		return room
	}
	room := make([]driver.Message, n)
	return &room
}

// giveBack ends a loan: nobody looks at the messages any more.
func (l *rooms) giveBack(room *[]driver.Message) {
	clear(*room)
	l.pool.Put(room)
}
