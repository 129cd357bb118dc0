package deednats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
)

// journals is what a connection has read of a topic's groups.
type journals struct {
	mu   sync.Mutex
	all  map[place]*journal
	room room
}

// place is a partition for a group.
type place struct {
	group     string
	partition int
}

func newJournals() *journals { return &journals{all: make(map[place]*journal)} }

// journal is how a group stands on a partition, as far as this connection has read.
type journal struct {
	c       *Conn
	stream  string
	subject string
	blobs   string

	mu      sync.Mutex
	state   state
	seq     uint64   // of the entry that was read last, 0 for none
	entries int      // since one that stands for all before it
	summary []uint64 // the blob of that one
}

// compactAfter is how many entries a journal has before its owner sums them up.
const compactAfter = 128

func (c *Conn) journal(t *topic, group string, partition int) *journal {
	t.known.mu.Lock()
	defer t.known.mu.Unlock()
	at := place{group, partition}
	j := t.known.all[at]
	if j == nil {
		j = &journal{c: c, stream: t.groups, subject: c.names.journal(t.life, group, partition),
			blobs: c.names.blobs(t.life, group, partition)}
		t.known.all[at] = j
	}
	return j
}

// refresh reads what was added to the journal. One that ends before what was read is another
// one: the group was made anew, or the server has lost something.
func (j *journal) refresh(ctx context.Context) error {
	end, err := j.c.last(ctx, j.stream, j.subject)
	if errors.Is(err, errNone) {
		j.state, j.seq, j.entries = state{}, 0, 0
		return nil
	}
	if err != nil {
		return err
	}
	if end.seq == j.seq {
		return nil
	}
	if end.seq < j.seq {
		j.state, j.seq, j.entries = state{}, 0, 0
	}
	for j.seq < end.seq {
		m := end
		if next := j.seq + 1; next < end.seq {
			if m, err = j.c.next(ctx, j.stream, j.subject, next); err != nil {
				return err
			}
		}
		if err := j.read(ctx, &m); err != nil {
			return err
		}
	}
	return nil
}

// read does the step of an entry.
func (j *journal) read(ctx context.Context, m *message) error {
	var e entry
	if err := json.Unmarshal(m.data, &e); err != nil {
		return fmt.Errorf("%w: entry %d of %s cannot be read: %w", driver.ErrRefused, m.seq, j.subject, err)
	}
	if e.Op == opAll && len(e.Blob) > 0 {
		data, err := j.c.readBlob(ctx, j.stream, e.Blob)
		if err == nil {
			err = json.Unmarshal(data, &e.Records)
		}
		if err != nil {
			return fmt.Errorf("the records of %s: %w", j.subject, err)
		}
	}
	j.took(&e, m.seq)
	return nil
}

func (j *journal) took(e *entry, seq uint64) {
	j.state.apply(e)
	j.seq = seq
	if j.entries++; e.Op == opAll {
		j.entries, j.summary = 0, e.Blob
	}
}

// look calls f with how the group stands now.
func (j *journal) look(ctx context.Context, f func(*state) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.refresh(ctx); err != nil {
		return err
	}
	return f(&j.state)
}

// step adds what decide returns for the state that there is, nothing when that is nil. An
// error of decide's is final only of a state that nobody has changed since.
func (j *journal) step(ctx context.Context, decide func(*state) (*entry, error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	fresh := false
	for turn := 0; ; turn++ {
		e, err := decide(&j.state)
		if (err != nil || e == nil) && !fresh {
			if err := j.refresh(ctx); err != nil {
				return err
			}
			fresh = true
			continue
		}
		if err != nil || e == nil {
			return err
		}
		e.At = j.c.now().UnixMicro()
		seq, err := j.add(ctx, e, j.seq)
		if err == nil {
			j.took(e, seq)
			if j.entries >= compactAfter {
				_ = j.compact(ctx) // else the next one does
			}
			return nil
		}
		if !errors.Is(err, errMoved) {
			j.state, j.seq, j.entries = state{}, 0, 0 // it may be there: read it all again
			return err
		}
		fresh = false
		if err := pause(ctx, turn); err != nil {
			return err
		}
		if err := j.refresh(ctx); err != nil {
			return err
		}
		fresh = true
	}
}

func (j *journal) add(ctx context.Context, e *entry, expected uint64) (uint64, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	return j.c.store(ctx, &nats.Msg{Subject: j.subject, Data: data}, expected)
}

// inline is how many records an entry that stands for all holds itself.
const inline = 256

// compact sums the journal up and removes what was before.
func (j *journal) compact(ctx context.Context) error {
	e := j.state.whole()
	e.At = j.c.now().UnixMicro()
	var blob []uint64
	records := make([]record, 0, len(j.state.side.records))
	for _, r := range j.state.side.sorted() {
		records = append(records, *r)
	}
	stored := e
	if stored.Records = records; len(records) > inline {
		data, err := json.Marshal(records)
		if err != nil {
			return err
		}
		if blob, err = j.c.writeBlob(ctx, j.blobs, data); err != nil {
			return err
		}
		stored.Records, stored.Blob = nil, blob
	}
	seq, err := j.add(ctx, &stored, j.seq)
	if err != nil {
		_ = j.c.removeBlob(ctx, j.stream, blob)
		return err
	}
	old := j.summary
	j.seq, j.entries, j.summary = seq, 0, blob
	return errors.Join(j.c.purge(ctx, j.stream, j.subject, seq), j.c.removeBlob(ctx, j.stream, old))
}

// A blob is data of any size, in as many messages as it takes. Nobody knows of it until an
// entry of a journal names it.

// writeBlob stores data and returns where.
func (c *Conn) writeBlob(ctx context.Context, subject string, data []byte) (at []uint64, err error) {
	chunks := slices.Collect(slices.Chunk(data, int(c.nc.MaxPayload())-overhead))
	if len(chunks) == 0 {
		chunks = [][]byte{nil}
	}
	for i, chunk := range chunks {
		m := &nats.Msg{Subject: subject, Data: chunk, Header: nats.Header{headerName: {strconv.Itoa(i)}}}
		seq, err := c.publish(ctx, m)
		if err != nil {
			return at, err
		}
		at = append(at, seq)
	}
	return at, nil
}

func (c *Conn) readBlob(ctx context.Context, stream string, at []uint64) (data []byte, err error) {
	for _, seq := range at {
		m, err := c.at(ctx, stream, seq)
		if err != nil {
			return nil, err
		}
		data = append(data, m.data...)
	}
	return data, nil
}

// removeBlob removes what no entry names any more. One that stays is in nobody's way.
func (c *Conn) removeBlob(ctx context.Context, stream string, at []uint64) error {
	s, err := c.handle(ctx, stream)
	if err != nil {
		return err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	for _, seq := range at {
		err = errors.Join(err, s.DeleteMsg(ctx, seq))
	}
	return err
}
