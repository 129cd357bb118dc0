package deedsql

import (
	"database/sql"
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

// fetch reads events of the partitions that have any.
func (s *subscription) fetch(f driver.Fetch) ([]driver.Delivery, error) {
	ready, err := s.ready(f.Full)
	if err != nil || len(ready) == 0 || f.Events <= 0 {
		return nil, err
	}
	s.turn++
	var got []driver.Delivery
	bytes := 0
	for i := range ready {
		p := ready[(i+s.turn)%len(ready)]
		left := f.Events - len(got)
		limit := (left + len(ready) - i - 1) / (len(ready) - i) // an equal part of what is left
		page, full, err := s.page(p, limit, f.Bytes-bytes, len(got) == 0)
		if err != nil {
			return got, err // what was read is not lost: next has moved for it alone
		}
		for j := range page {
			bytes += len(page[j].Data)
		}
		got = append(got, page...)
		if full || len(got) >= f.Events {
			break
		}
	}
	return got, nil
}

// ready returns the partitions with events to fetch, in order.
func (s *subscription) ready(full []int) ([]int, error) {
	if len(s.next) == len(s.stopped) {
		return nil, nil
	}
	var ready []int
	err := s.c.read.each("SELECT partition, position FROM deed_head WHERE topic_id = ?", []any{s.topic.id},
		func(rows *sql.Rows) error {
			var p int
			var end int64
			if err := rows.Scan(&p, &end); err != nil {
				return err
			}
			at, ours := s.next[p]
			if ours && end > at && !s.stopped[p] && !slices.Contains(full, p) {
				ready = append(ready, p)
			}
			return nil
		})
	return ready, err
}

// page reads the next events of a partition and moves past them. Full says that the
// next one is larger than room; alone lets one through all the same.
func (s *subscription) page(p, limit, room int, alone bool) (got []driver.Delivery, full bool, err error) {
	at := s.next[p]
	err = readLog(s.c.read, forward, s.topic.id, p, at, limit, func(d driver.Delivery) bool {
		if len(d.Data) > room && !alone {
			full = true
			return false
		}
		room -= len(d.Data)
		alone = false
		got = append(got, d)
		return true
	})
	if err != nil {
		return nil, false, err
	}
	if len(got) == 0 {
		return nil, full, nil
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
	if err == nil && last-first+1 != int64(len(got)) {
		err = fmt.Errorf("partition %d has a gap after position %d (restore the file from a backup)", p, first)
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
		err = fmt.Errorf("partition %d has a gap before position %d (restore the file from a backup)", p, first)
	}
	return err
}
