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
		ready, err := s.ready(r, f.Full)
		if err != nil || len(ready) == 0 || f.Events <= 0 {
			return err
		}
		s.turn++
		bytes := 0
		for i := range ready {
			p := ready[(i+s.turn)%len(ready)]
			left := f.Events - len(got)
			equal := (left + len(ready) - i - 1) / (len(ready) - i) // part of what is left
			page, full, err := s.page(r, p, min(left, max(equal, pageEvents)), f.Bytes-bytes, len(got) == 0)
			if err != nil {
				return err
			}
			for j := range page {
				bytes += len(page[j].Data)
			}
			got = append(got, page...)
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

// ready returns the partitions with events to fetch, in order.
func (s *subscription) ready(r *session, full []int) (ready []int, err error) {
	if len(s.next) == len(s.stopped) {
		return nil, nil
	}
	err = r.each("SELECT partition, position FROM deed_head WHERE topic_id = ?", func(row []sqldriver.Value) bool {
		partition, _ := row[0].(int64)
		end, _ := row[1].(int64)
		p := int(partition)
		if at, ours := s.next[p]; ours && end > at && !s.stopped[p] && !slices.Contains(full, p) {
			ready = append(ready, p)
		}
		return true
	}, s.topic.id)
	return ready, err
}

// page reads the next events of a partition and moves past them. Full says that the
// next one is larger than room; alone lets one through all the same.
func (s *subscription) page(
	r *session, p, limit, room int, alone bool,
) (got []driver.Delivery, full bool, err error) {
	at := s.next[p]
	got, full, err = s.c.kinds.read(r, logQuery{
		topic: s.topic.id, partition: p, at: at, limit: limit, room: room, alone: alone,
	})
	if err != nil || len(got) == 0 {
		return nil, full, err
	}
	first, err := parsePosition(got[0].Position)
	if err != nil {
		return nil, false, err
	}
	last, err := parsePosition(got[len(got)-1].Position)
	if err != nil {
		return nil, false, err
	}
	if first > at+1 {
		err = s.dropped(p, first)
	}
	if err != nil {
		return nil, false, err
	}
	for i := range got {
		got[i].Replay = first+int64(i) <= s.replay[p]
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
