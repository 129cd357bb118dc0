package deed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// ReadOptions select what Read returns. The zero value is everything there is.
type ReadOptions struct {
	From   From   // the zero value is the beginning
	To     From   // the zero value is the end as it is when Read begins
	Last   int    // only the last n of what the other fields select; 0 means all
	Key    string // only events of this key; "" means all
	Type   string // only events of this type; "" means all
	Follow bool   // wait for more instead of ending
}

// Stored is an event as it lies in its topic.
type Stored struct {
	Event
	Topic    string
	Position string // "3-1042"
	StoredAt time.Time
}

const (
	readPageBytes = 1 << 20 // data that a page of one partition should not exceed
	readPageMax   = 256     // events in a page
	readPageMin   = 4
	followPause   = 20 * time.Millisecond
	askPauseMost  = 250 * time.Millisecond
)

// askPause is how long to wait before asking again what took until now: nine times as long,
// so that an engine which has to work for an answer is not kept at it.
func askPause(began time.Time, least time.Duration) time.Duration {
	return max(least, min(9*time.Since(began), askPauseMost))
}

// Read iterates over a topic's events without a group: partitions are merged by
// time of storing, order is kept inside each. It never creates a topic. An error
// ends the iteration.
func (b *Bus) Read(ctx context.Context, topic string, o *ReadOptions) iter.Seq2[Stored, error] {
	if o == nil {
		o = &ReadOptions{}
	}
	return func(yield func(Stored, error) bool) {
		r := &reader{ctx: ctx, topic: topic, opts: *o}
		if err := r.open(b); err != nil {
			yield(Stored{}, fmt.Errorf("deed: read: %s: %w", topic, err))
			return
		}
		read := r.forward
		if o.Last > 0 {
			read = r.last
		}
		if err := read(yield); err != nil {
			yield(Stored{}, fmt.Errorf("deed: read: %s: %w", topic, err))
		}
	}
}

// reader merges the partitions of one topic.
type reader struct {
	ctx     context.Context // of the Read call, which the reader does not outlive
	browser driver.Browser
	topic   string
	opts    ReadOptions
	lanes   []*lane
}

// lane is the reading of one partition.
type lane struct {
	partition int
	after     string // read up to here
	until     string // last position to return; "" means that nothing is
	page      []driver.Delivery
	limit     int // events in the next page
	done      bool
}

// open finds the topic and where each partition starts and ends.
func (r *reader) open(b *Bus) error {
	browser, ok := driver.As[driver.Browser](b.conn)
	if !ok {
		return fmt.Errorf("%s cannot be read without a group%s: %w", b.features.Engine, b.features.Otherwise(),
			errors.ErrUnsupported)
	}
	r.browser = browser
	ends, err := browser.Ends(r.ctx, r.topic)
	if err != nil {
		return err
	}
	starts, err := r.resolve(r.opts.From, ends)
	if err != nil {
		return err
	}
	untils := ends
	if !r.opts.To.isZero() {
		if untils, err = r.resolve(r.opts.To, ends); err != nil {
			return err
		}
	}
	for i := range ends {
		r.lanes = append(r.lanes, &lane{partition: i, after: starts[i], until: untils[i], limit: readPageMin})
	}
	return nil
}

// resolve turns f into the position before the first event of each partition.
func (r *reader) resolve(f From, ends []string) ([]string, error) {
	out := make([]string, len(ends))
	switch {
	case f.end:
		copy(out, ends)
	case !f.time.IsZero():
		for i := range out {
			p, err := r.browser.Seek(r.ctx, r.topic, i, f.time)
			if err != nil {
				return nil, err
			}
			out[i] = p
		}
	case f.cursor != "":
		positions, err := f.cursor.parse()
		if err != nil {
			return nil, err
		}
		for i, p := range positions {
			if i >= len(out) {
				return nil, fmt.Errorf("position %s: the topic has %d partitions", position(i, p), len(out))
			}
			if _, err := r.browser.Compare(p, p); err != nil {
				return nil, fmt.Errorf("position %s: %w", position(i, p), err)
			}
			out[i] = p
		}
	}
	return out, nil
}

// within refuses positions that are behind the end of their partition.
func (r *reader) within(positions, ends []string) error {
	for i, p := range positions {
		if p == "" {
			continue
		}
		order, err := 1, error(nil)
		if ends[i] != "" {
			order, err = r.browser.Compare(p, ends[i])
		}
		if err != nil || order > 0 {
			return cmp.Or(err, fmt.Errorf("position %s is behind the last one, %q: %w",
				position(i, p), ends[i], driver.ErrRefused))
		}
	}
	return nil
}

// forward yields events in order until every lane has ended.
func (r *reader) forward(yield func(Stored, error) bool) error {
	follow := r.opts.Follow && r.opts.To.isZero()
	for {
		next, err := r.next(false)
		if err != nil {
			return err
		}
		if next == nil {
			if !follow {
				return nil
			}
			if err := r.await(); err != nil {
				return nil // following ends with the context
			}
			continue
		}
		if s := r.take(next); r.selected(s) && !yield(s, nil) {
			return nil
		}
	}
}

// last collects the newest selected events from the end backwards.
func (r *reader) last(yield func(Stored, error) bool) error {
	starts := make([]string, len(r.lanes))
	ends := make([]string, len(r.lanes))
	for i, l := range r.lanes {
		starts[i], ends[i] = l.after, l.until
		l.after, l.until = "", l.after
		l.done = ends[i] == ""
	}
	var found []Stored
	for len(found) < r.opts.Last {
		l, err := r.next(true)
		if err != nil {
			return err
		}
		if l == nil {
			break
		}
		p := l.page[0].Position
		s := r.take(l)
		if over, err := r.browser.Compare(p, ends[l.partition]); err != nil {
			return err
		} else if over <= 0 && r.selected(s) {
			found = append(found, s)
		}
	}
	for _, s := range slices.Backward(found) {
		if !yield(s, nil) {
			return nil
		}
	}
	if r.opts.Follow && r.opts.To.isZero() {
		for i, l := range r.lanes {
			*l = lane{partition: i, after: ends[i], until: ends[i], limit: readPageMin}
		}
		return r.forward(yield)
	}
	return nil
}

// next returns the lane whose first event comes next, nil when all have ended.
func (r *reader) next(backward bool) (*lane, error) {
	var best *lane
	for _, l := range r.lanes {
		if err := r.fill(l, backward); err != nil {
			return nil, err
		}
		if len(l.page) == 0 {
			continue
		}
		if best == nil || l.page[0].Stored.Before(best.page[0].Stored) != backward &&
			!l.page[0].Stored.Equal(best.page[0].Stored) {
			best = l
		}
	}
	return best, nil
}

// fill reads a lane's next page when it has none. A page grows with what it holds,
// so that large events do not fill the memory.
func (r *reader) fill(l *lane, backward bool) error {
	if len(l.page) > 0 || l.done {
		return nil
	}
	page, err := r.browser.Browse(r.ctx, driver.Page{
		Topic: r.topic, Partition: l.partition, After: l.after, Limit: l.limit, Backward: backward,
	})
	if err != nil {
		return err
	}
	if len(page) == 0 {
		l.done = true
		return nil
	}
	bytes := 1
	for _, d := range page {
		bytes += len(d.Data)
	}
	l.limit = min(max(readPageBytes*len(page)/bytes, readPageMin), readPageMax, 4*l.limit)
	if l.page, err = r.clip(l, page, backward); err != nil {
		return err
	}
	l.done = len(l.page) < len(page)
	if len(l.page) > 0 {
		l.after = l.page[len(l.page)-1].Position
	}
	return nil
}

// clip cuts from page what lies beyond the lane's end.
func (r *reader) clip(l *lane, page []driver.Delivery, backward bool) ([]driver.Delivery, error) {
	if l.until == "" {
		if backward {
			return page, nil
		}
		return nil, nil
	}
	for i := range page {
		c, err := r.browser.Compare(page[i].Position, l.until)
		if err != nil {
			return nil, err
		}
		if backward && c <= 0 || !backward && c > 0 {
			return page[:i], nil
		}
	}
	return page, nil
}

func (r *reader) take(l *lane) Stored {
	d := &l.page[0]
	l.page = l.page[1:]
	return Stored{
		Event: eventOf(&d.Message), Topic: r.topic, Position: position(d.Partition, d.Position), StoredAt: d.Stored,
	}
}

func (r *reader) selected(s Stored) bool {
	return (r.opts.Key == "" || s.Key == r.opts.Key) && (r.opts.Type == "" || s.Type == r.opts.Type)
}

// await waits until a partition has grown past what was read, and opens its lane
// again.
func (r *reader) await() error {
	for {
		began := time.Now()
		ends, err := r.browser.Ends(r.ctx, r.topic)
		if err != nil {
			return err
		}
		grown := false
		for i, l := range r.lanes {
			if i < len(ends) && ends[i] != l.until && ends[i] != "" {
				l.until, l.done, grown = ends[i], false, true
			}
		}
		if grown {
			return nil
		}
		select {
		case <-r.ctx.Done():
			return r.ctx.Err()
		case <-time.After(askPause(began, followPause)):
		}
	}
}
