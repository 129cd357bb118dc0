package deedsql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
)

// replayed returns up to where the deliveries of a claim are replays. When the group
// was reset since, the claim does not hold any more, and it does not matter.
func (s *subscription) replayed(c driver.Claim) (at int64, err error) {
	if c.Run == 0 {
		return 0, nil
	}
	err = s.c.read.row("SELECT replay FROM deed_claim WHERE group_id = ? AND partition = ?",
		[]any{s.group, c.Partition}, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil // deleted, as the next news says
	}
	return at, err
}

// pageEvents is the least that is read of a partition at once when it has as much:
// fewer would cost more to find than to read.
const pageEvents = 64

// fetch reads events of the partitions that have any.
func (s *subscription) fetch(f driver.Fetch) (got []driver.Delivery, err error) {
	err = s.c.sessions.with(func(r *session) error {
		all, events, err := s.ready(r, f.Full)
		if err != nil || len(all) == 0 || f.Events <= 0 {
			return err
		}
		got = make([]driver.Delivery, 0, min(events, int64(f.Events)))
		s.turn++
		bytes := 0
		for i := range all {
			p := all[(i+s.turn)%len(all)]
			left := f.Events - len(got)
			equal := (left + len(all) - i - 1) / (len(all) - i) // part of what is left
			limit := min(left, max(equal, pageEvents))
			before := len(got)
			var full bool
			if got, full, err = s.page(r, p, limit, f.Bytes-bytes, got); err != nil {
				return err
			}
			for j := range got[before:] {
				bytes += len(got[before+j].Data)
			}
			if full || len(got) >= f.Events {
				break
			}
		}
		return nil
	})
	if len(got) > 0 {
		return got, nil // the next call meets the error again; these would be lost with it
	}
	return nil, err
}

// ready returns the partitions with events to fetch, in order, and how many they have
// in all.
func (s *subscription) ready(r *session, full []int) (all []int, events int64, err error) {
	if len(s.next) == len(s.stopped) {
		return nil, 0, nil
	}
	const query = "SELECT partition, position, removed FROM deed_head WHERE topic_id = ?"
	err = r.each(query, func(row []sqldriver.Value) bool {
		partition, _ := row[0].(int64)
		end, _ := row[1].(int64)
		p := int(partition)
		if at, ours := s.next[p]; ours && end > at && !s.stopped[p] && !slices.Contains(full, p) {
			all = append(all, p)
			events += end - at
			s.removed[p], _ = row[2].(int64)
		}
		return true
	}, s.topic.id)
	return all, events, err
}

// page appends the next events of a partition to got and moves past them. Full says
// that the next one is larger than room; the first of all gets through all the same.
func (s *subscription) page(
	r *session, p, limit, room int, got []driver.Delivery,
) (_ []driver.Delivery, full bool, err error) {
	at, start := s.next[p], len(got)
	q := logQuery{topic: s.topic.id, partition: p, at: at, limit: limit, room: room, alone: start == 0}
	if at >= s.removed[p] { // else it is not told what retention took, though it may still be here
		got, full = s.c.tail.read(q, got)
	}
	if len(got) == start && !full {
		got, full, err = s.c.kinds.read(r, q, got)
	}
	if err != nil || len(got) == start {
		return got, full, err
	}
	page := got[start:]
	first, err := parsePosition(page[0].Position)
	if err != nil {
		return got[:start], false, err
	}
	last, err := parsePosition(page[len(page)-1].Position)
	if err != nil {
		return got[:start], false, err
	}
	if first > at+1 {
		err = s.dropped(p, first)
	}
	if err != nil {
		return got[:start], false, err
	}
	for i := range page {
		page[i].Replay = first+int64(i) <= s.replay[p]
	}
	s.next[p] = last
	return got, full, nil
}

// dropped checks that what is missing before the first event was removed by hold.
func (s *subscription) dropped(p int, first int64) error {
	var removed int64
	err := s.c.read.row("SELECT removed FROM deed_head WHERE topic_id = ? AND partition = ?",
		[]any{s.topic.id, p}, &removed)
	if err == nil && first > removed+1 {
		err = fmt.Errorf("partition %d before position %d: %w", p, first, errGap)
	}
	return err
}
