package deednats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// letterDoc is what a blob holds of a parked event.
type letterDoc struct {
	Message    driver.Message `json:"message"`
	Stored     time.Time      `json:"stored"`
	Replay     bool           `json:"replay,omitempty"`
	Unreadable string         `json:"unreadable,omitempty"`
	Attempts   int            `json:"attempts,omitempty"`
	Crashes    int            `json:"crashes,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Error      string         `json:"error,omitempty"`
	Stack      string         `json:"stack,omitempty"`
	Failed     time.Time      `json:"failed,omitzero"`
	Edits      []driver.Edit  `json:"edits,omitempty"`
}

// claimed returns the journal of a claim.
func (c *Conn) claimed(ctx context.Context, cl driver.Claim) (*topic, *journal, error) {
	if err := c.usable(); err != nil {
		return nil, nil, err
	}
	t, err := c.topic(ctx, cl.Topic)
	if err != nil {
		return nil, nil, c.fail("side log", err)
	}
	if cl.Partition < 0 || cl.Partition >= len(t.parts) {
		return nil, nil, c.fail("side log",
			fmt.Errorf("%w: topic %s has no partition %d", driver.ErrRefused, cl.Topic, cl.Partition))
	}
	return t, c.journal(t, cl.Group, cl.Partition), nil
}

// fenced is ErrFenced under a newer epoch.
func (s *state) fenced(cl driver.Claim) error {
	if !s.Made || s.Epoch != cl.Epoch {
		return driver.ErrFenced
	}
	return nil
}

func (c *Conn) failClaim(what string, cl driver.Claim, err error) error {
	if err == nil {
		return nil
	}
	return c.fail(what, fmt.Errorf("group %s on topic %s partition %d: epoch %d: %w",
		cl.Group, cl.Topic, cl.Partition, cl.Epoch, err))
}

// Park implements [driver.SideLog]. The events are stored first; the entry that names them
// is what parks them.
func (c *Conn) Park(ctx context.Context, cl driver.Claim, ps []driver.Parked) error {
	t, j, err := c.claimed(ctx, cl)
	if err != nil {
		return err
	}
	for i := range ps {
		at, err := driverkit.ParsePosition(ps[i].Position)
		if err == nil && at == 0 {
			err = fmt.Errorf("%w: event %s has no position", driver.ErrRefused, ps[i].Message.ID)
		}
		if err != nil {
			return c.fail("park", err)
		}
	}
	if err := j.look(ctx, func(s *state) error { return s.fenced(cl) }); err != nil {
		return c.failClaim("park", cl, err)
	}
	// An entry has room for so many.
	for some := range slices.Chunk(ps, inline) {
		if err := c.park(ctx, t, j, cl, some); err != nil {
			return c.failClaim("park", cl, err)
		}
	}
	return nil
}

func (c *Conn) park(ctx context.Context, t *topic, j *journal, cl driver.Claim, ps []driver.Parked) error {
	records := make([]record, len(ps))
	for i := range ps {
		p := &ps[i]
		at, _ := driverkit.ParsePosition(p.Position) // was read before
		if err := c.keepEdits(ctx, j, p, spot{at, p.Run}); err != nil {
			return err
		}
		blob, err := c.writeLetter(ctx, j, &p.Letter)
		if err != nil {
			return err
		}
		records[i] = record{Position: at, Run: p.Run, ID: letterID(blob[0], t.number), Key: p.Key, State: p.State,
			Aside: p.Aside, Blob: blob}
	}
	var old [][]uint64
	err := j.step(ctx, func(s *state) (*entry, error) {
		if err := s.fenced(cl); err != nil {
			return nil, err
		}
		now := c.now()
		old = old[:0]
		for i := range records {
			records[i].Due = now.Add(ps[i].After).UnixMicro()
			if there := s.side.records[records[i].spot()]; there != nil {
				if records[i].State == driver.Behind {
					old = append(old, records[i].Blob)
				} else {
					old = append(old, there.Blob)
				}
			}
		}
		return &entry{Op: opPark, Records: records}, nil
	})
	if err == nil {
		c.forgetBlobs(ctx, j, old)
	}
	return err
}

// keepEdits leaves a letter that was edited as it is: a copy from the log would undo that.
func (c *Conn) keepEdits(ctx context.Context, j *journal, p *driver.Parked, at spot) error {
	j.mu.Lock()
	there := j.state.side.records[at]
	j.mu.Unlock()
	if there == nil || !there.Edited || p.State == driver.Behind {
		return nil
	}
	doc, err := c.readLetter(ctx, j, there)
	p.Data, p.Edits = doc.Message.Data, doc.Edits
	return err
}

// forgetBlobs removes what no record names any more.
func (c *Conn) forgetBlobs(ctx context.Context, j *journal, blobs [][]uint64) {
	for _, blob := range blobs {
		_ = c.removeBlob(ctx, j.stream, blob)
	}
}

func (c *Conn) writeLetter(ctx context.Context, j *journal, l *driver.Letter) ([]uint64, error) {
	data, err := json.Marshal(letterDoc{
		l.Message, l.Stored, l.Replay, l.Unreadable, l.Attempts, l.Crashes, l.Reason, l.Error, l.Stack, l.Failed, l.Edits,
	})
	if err != nil {
		return nil, err
	}
	return c.writeBlob(ctx, j.blobs, data)
}

func (c *Conn) readLetter(ctx context.Context, j *journal, r *record) (doc letterDoc, err error) {
	data, err := c.readBlob(ctx, j.stream, r.Blob)
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	return doc, err
}

// Unpark implements [driver.SideLog].
func (c *Conn) Unpark(ctx context.Context, cl driver.Claim, positions []string) (empty []string, err error) {
	_, j, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	spots := make([]int64, len(positions))
	for i, text := range positions {
		if spots[i], err = driverkit.ParsePosition(text); err != nil {
			return nil, c.fail("unpark", err)
		}
	}
	keys := make(map[string]bool)
	var old [][]uint64
	err = j.step(ctx, func(s *state) (*entry, error) {
		if err := s.fenced(cl); err != nil {
			return nil, err
		}
		clear(keys)
		old = old[:0]
		for _, position := range spots {
			if r := s.side.handled(position, cl.Run); r != nil {
				keys[r.Key] = true
				old = append(old, r.Blob)
			}
		}
		if len(old) == 0 {
			return nil, nil
		}
		return &entry{Op: opUnpark, Spots: spots, Run: cl.Run}, nil
	})
	if err != nil {
		return nil, c.failClaim("unpark", cl, err)
	}
	c.forgetBlobs(ctx, j, old)
	j.mu.Lock()
	defer j.mu.Unlock()
	for key := range keys {
		if key != "" && len(j.state.side.chains[key]) == 0 {
			empty = append(empty, key)
		}
	}
	return empty, nil
}

// some calls choose for the records of a claim and returns their letters.
func (c *Conn) some(
	ctx context.Context, what string, cl driver.Claim, limit int, choose func(*sideLog) []*record,
) ([]driver.Letter, error) {
	t, j, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	var chosen []record
	err = j.look(ctx, func(s *state) error {
		if err := s.fenced(cl); err != nil {
			return err
		}
		for _, r := range choose(&s.side) {
			if len(chosen) < limit {
				chosen = append(chosen, *r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, c.failClaim(what, cl, err)
	}
	var ls []driver.Letter
	for i := range chosen {
		l, err := c.letter(ctx, t, j, place{cl.Group, cl.Partition}, &chosen[i])
		if errors.Is(err, errNone) {
			continue // handled meanwhile
		}
		if err != nil {
			return nil, c.failClaim(what, cl, err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// letter returns a record with its event.
func (c *Conn) letter(ctx context.Context, t *topic, j *journal, of place, r *record) (driver.Letter, error) {
	doc, err := c.readLetter(ctx, j, r)
	return driver.Letter{
		Group: of.group, Topic: t.info.Name, ID: r.ID, Run: r.Run, State: r.State, Aside: r.Aside, Due: timeOf(r.Due),
		Attempts: doc.Attempts, Crashes: doc.Crashes, Reason: doc.Reason, Error: doc.Error, Stack: doc.Stack,
		Failed: doc.Failed, Edits: doc.Edits,
		Delivery: driver.Delivery{
			Message: doc.Message, Partition: of.partition, Position: driverkit.Position(r.Position), Stored: doc.Stored,
			Replay: doc.Replay, Unreadable: doc.Unreadable,
		},
	}, err
}

// Due implements [driver.SideLog].
func (c *Conn) Due(ctx context.Context, cl driver.Claim, limit int) ([]driver.Letter, error) {
	return c.some(ctx, "due", cl, limit, func(s *sideLog) []*record { return s.due(c.now().UnixMicro()) })
}

// Chain implements [driver.SideLog].
func (c *Conn) Chain(ctx context.Context, cl driver.Claim, key string, limit int) ([]driver.Letter, error) {
	return c.some(ctx, "chain", cl, limit, func(s *sideLog) []*record { return s.chains[key] })
}

// ParkedKeys implements [driver.SideLog].
func (c *Conn) ParkedKeys(ctx context.Context, cl driver.Claim, limit int) (keys []string, err error) {
	_, j, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	err = j.look(ctx, func(s *state) error {
		keys = slices.Sorted(maps.Keys(s.side.chains))
		return s.fenced(cl)
	})
	if err != nil {
		return nil, c.failClaim("parked keys", cl, err)
	}
	return keys[:min(len(keys), max(limit, 0))], nil
}

// SetMarks implements [driver.SideLog].
func (c *Conn) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	_, j, err := c.claimed(ctx, cl)
	if err != nil {
		return err
	}
	marks := make(map[int64]mark, len(ms))
	for _, m := range ms {
		at, err := driverkit.ParsePosition(m.Position)
		if err != nil {
			return c.fail("set marks", err)
		}
		marks[at] = mark{m.Attempts, m.Crashes}
	}
	err = j.step(ctx, func(s *state) (*entry, error) {
		return &entry{Op: opMarks, Marks: marks}, s.fenced(cl)
	})
	return c.failClaim("set marks", cl, err)
}

// Marks implements [driver.SideLog].
func (c *Conn) Marks(ctx context.Context, cl driver.Claim) ([]driver.Mark, error) {
	_, j, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	after, err := driverkit.ParsePosition(cl.Position)
	if err != nil {
		return nil, c.fail("marks", err)
	}
	var ms []driver.Mark
	err = j.look(ctx, func(s *state) error {
		for _, at := range slices.SortedFunc(maps.Keys(s.Marks), cmp.Compare[int64]) {
			if m := s.Marks[at]; at > after {
				ms = append(ms, driver.Mark{Position: driverkit.Position(at), Attempts: m.Attempts, Crashes: m.Crashes})
			}
		}
		return s.fenced(cl)
	})
	if err != nil {
		return nil, c.failClaim("marks", cl, err)
	}
	return ms, nil
}
