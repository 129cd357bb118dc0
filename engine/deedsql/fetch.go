package deedsql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
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

// fetch reads events of the partitions that have any: from memory as long as all that
// is known of lies there, else from the file.
func (s *subscription) fetch(f driver.Fetch) (got []driver.Delivery, err error) {
	if f.Events <= 0 || len(s.next) == len(s.stopped) {
		return nil, nil
	}
	if all, events, ok := s.inMemory(f.Full); ok {
		if got, err = s.pages(nil, f, all, events); len(all) == 0 {
			return nil, err
		}
	}
	if len(got) == 0 { // or they have just left the memory
		err = s.c.sessions.with(func(r *session) error {
			all, events, err := s.ready(r, f.Full)
			if err == nil {
				got, err = s.pages(r, f, all, events)
			}
			return err
		})
	}
	if len(got) > 0 {
		return got, nil // the next call meets the error again; these would be lost with it
	}
	return nil, err
}

// pages reads events of partitions that have so many in all. Without a session it
// returns what is in memory.
func (s *subscription) pages(r *session, f driver.Fetch, all []int, events int64) (got []driver.Delivery, err error) {
	if len(all) == 0 {
		return nil, nil
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
			return got, err
		}
		for j := range got[before:] {
			bytes += len(got[before+j].Data)
		}
		if full || len(got) >= f.Events {
			break
		}
	}
	return got, nil
}

// inMemory returns the partitions with events to fetch and how many they have in all.
// It reports false when the file has to be looked at: another connection may have
// committed since the last time, or the next event of a partition is not in memory.
func (s *subscription) inMemory(full []int) (all []int, events int64, ok bool) {
	if s.c.commits.Load() != s.looked {
		return nil, 0, false
	}
	for p, at := range s.next {
		if s.stopped[p] || slices.Contains(full, p) {
			continue
		}
		end, known := s.ends[p]
		stored, here := s.c.tail.look(place{s.topic.id, p}, at)
		if end = max(end, stored); !known || end > at && !here {
			return nil, 0, false
		}
		if end > at {
			all = append(all, p)
			events += end - at
		}
	}
	return all, events, true
}

// ready is inMemory of the file.
func (s *subscription) ready(r *session, full []int) (all []int, events int64, err error) {
	s.looked = s.c.commits.Load()
	const query = "SELECT partition, position, removed FROM deed_head WHERE topic_id = ?"
	err = r.each(query, func(row []sqldriver.Value) bool {
		partition, _ := row[0].(int64)
		end, _ := row[1].(int64)
		p := int(partition)
		at, ours := s.next[p]
		if !ours {
			return true
		}
		s.ends[p] = end
		s.removed[p], _ = row[2].(int64)
		if end > at && !s.stopped[p] && !slices.Contains(full, p) {
			all = append(all, p)
			events += end - at
		}
		return true
	}, s.topic.id)
	return all, events, err
}

// page appends the next events of a partition to got and moves past them. Full says
// that the next one is larger than room; the first of all gets through all the same.
// There may be no session, see pages.
func (s *subscription) page(
	r *session, p, limit, room int, got []driver.Delivery,
) (_ []driver.Delivery, full bool, err error) {
	at, start := s.next[p], len(got)
	q := logQuery{topic: s.topic.id, partition: p, at: at, limit: limit, room: room, alone: start == 0}
	if at >= s.removed[p] { // else it is not told what retention took, though it may still be here
		got, full = s.c.tail.read(q, got)
	}
	if len(got) == start && !full && r != nil {
		got, full, err = s.c.kinds.read(r, q, got)
	}
	if err != nil || len(got) == start {
		return got, full, err
	}
	page := got[start:]
	first, err := driverkit.ParsePosition(page[0].Position)
	if err != nil {
		return got[:start], false, err
	}
	last, err := driverkit.ParsePosition(page[len(page)-1].Position)
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
