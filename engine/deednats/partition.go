package deednats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// partition is what a connection knows of one, to append to it. Publishing locks it, so
// that within a process nobody has to try twice.
type partition struct {
	conn   *Conn
	life   life
	number int

	mu        sync.Mutex
	loaded    bool
	end       end
	producers map[string]producer
	unwritten int // messages since the producers were last written down
}

// end is the last message of a partition.
type end struct {
	seq   uint64 // 0 when there is none
	last  int64  // position
	bytes int64
	time  time.Time
}

// producer is the last that is stored of one.
type producer struct {
	Seq int64 `json:"seq"`
	At  int64 `json:"at"` // when, in microseconds
}

// producersDoc is what producers had stored when a partition ended at a message. What came
// later is in the headers of the messages behind it.
type producersDoc struct {
	Upto      uint64              `json:"upto"`
	Last      int64               `json:"last"`
	Bytes     int64               `json:"bytes"`
	Producers map[string]producer `json:"producers"`
}

const (
	// writeDown is how many messages come between two times that producers are written
	// down: as many has a process to read before it can continue a partition.
	writeDown = 128
	// idleProducer is how long a producer's sequence is remembered. A bus that comes
	// back later is told of a gap, and starts a new one.
	idleProducer = 7 * 24 * time.Hour
)

func (p *partition) subject() string { return p.conn.names.partition(p.life, p.number) }
func (p *partition) stream() string  { return p.conn.names.log(p.life.topic) }

// endOf returns where a partition ends now.
func (c *Conn) endOf(ctx context.Context, of life, number int) (end, stamp, error) {
	m, err := c.last(ctx, c.names.log(of.topic), c.names.partition(of, number))
	if errors.Is(err, errNone) {
		doc, _, err := readDoc[producersDoc](ctx, c, c.names.producers(of, number))
		if errors.Is(err, errNone) {
			err = nil
		}
		// A partition that has all its messages removed, by hand, goes on counting.
		return end{last: doc.Last, bytes: doc.Bytes}, stamp{}, err
	}
	if err != nil {
		return end{}, stamp{}, err
	}
	s, err := parseStamp(&m)
	return end{m.seq, s.last, s.bytes, m.time}, s, err
}

// refresh reads what was appended since the partition was looked at, or all that has to be
// known when it ends before that: the server has lost something.
func (p *partition) refresh(ctx context.Context) error {
	now, s, err := p.conn.endOf(ctx, p.life, p.number)
	if err != nil {
		p.loaded = false
		return err
	}
	if p.loaded && now.seq == p.end.seq && now.last == p.end.last && now.bytes == p.end.bytes {
		return nil
	}
	if !p.loaded || now.seq < p.end.seq {
		if err := p.load(ctx, now); err != nil {
			return err
		}
	}
	for at := p.end.seq + 1; at < now.seq; {
		m, err := p.conn.next(ctx, p.stream(), p.subject(), at)
		if err != nil {
			p.loaded = false
			return err
		}
		if m.seq >= now.seq {
			break
		}
		passed, err := parseStamp(&m)
		if err != nil {
			p.loaded = false
			return err
		}
		p.note(&passed, m.time)
		at = m.seq + 1
	}
	p.note(&s, now.time)
	p.end, p.loaded = now, true
	return nil
}

// load begins with what was written down of the producers, unless that is of a log which
// the server has lost.
func (p *partition) load(ctx context.Context, now end) error {
	p.loaded, p.end, p.producers, p.unwritten = false, end{}, make(map[string]producer), 0
	doc, _, err := readDoc[producersDoc](ctx, p.conn, p.conn.names.producers(p.life, p.number))
	if err != nil && !errors.Is(err, errNone) {
		return err
	}
	if doc.Upto > 0 && (doc.Upto <= now.seq || now.seq == 0) {
		p.end.seq = doc.Upto
		maps.Copy(p.producers, doc.Producers)
	}
	return nil
}

// note remembers what a message says of its producer.
func (p *partition) note(s *stamp, at time.Time) {
	p.unwritten++
	if s.producer != "" {
		p.producers[s.producer] = producer{s.seq, at.UnixMicro()}
	}
}

// continues returns how many of the batch's messages the partition has already by their
// sequence, or ErrGap.
func (p *partition) continues(b *driver.Batch) (known int, err error) {
	if b.Producer == "" {
		return 0, nil
	}
	last := p.producers[b.Producer].Seq
	if b.Seq > last+1 {
		return 0, fmt.Errorf("%w: producer %s sent %d after %d", driver.ErrGap, b.Producer, b.Seq, last)
	}
	return int(min(last+1-b.Seq, int64(len(b.Messages)))), nil
}

// writeProducers writes down what producers have stored, so that another process need not
// read all of the partition. It is a help, and so may fail.
func (p *partition) writeProducers(ctx context.Context) error {
	idle := p.conn.now().Add(-idleProducer).UnixMicro()
	maps.DeleteFunc(p.producers, func(_ string, x producer) bool { return x.At < idle })
	p.unwritten = 0
	_, err := changeDoc(ctx, p.conn, p.conn.names.producers(p.life, p.number), func(d *producersDoc) error {
		if d.Upto < p.end.seq {
			*d = producersDoc{p.end.seq, p.end.last, p.end.bytes, p.producers}
		}
		return nil
	})
	return err
}
