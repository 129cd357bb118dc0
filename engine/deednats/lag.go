package deednats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// baseDoc says what of a partition was removed. The message that holds the first event
// left may hold some before it: nobody is given those.
type baseDoc struct {
	Position int64 `json:"position"`
	Bytes    int64 `json:"bytes"` // of data up to there
}

// stand is where a partition begins and ends.
type stand struct {
	base baseDoc
	end  end
}

// stands returns where all partitions begin and end.
func (c *Conn) stands(ctx context.Context, t *topic) ([]stand, error) {
	all := make([]stand, len(t.parts))
	return all, eachPartition(t, func(p int) (err error) {
		all[p], err = c.stand(ctx, t, p)
		return err
	})
}

func (c *Conn) stand(ctx context.Context, t *topic, p int) (s stand, err error) {
	if s.base, _, err = readDoc[baseDoc](ctx, c, c.names.base(t.life, p)); err != nil && !errors.Is(err, errNone) {
		return s, err
	}
	s.end, _, err = c.endOf(ctx, t.life, p)
	if s.end.last < s.base.Position { // the server has lost the end of the log
		s.end.last, s.end.bytes = s.base.Position, s.base.Bytes
	}
	return s, err
}

// Lag implements [driver.Groups].
func (c *Conn) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	lags, err := c.lags(ctx, group, topic)
	return lags, c.fail("lag", err)
}

func (c *Conn) lags(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	all, err := c.standings(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	if err := c.askTime(ctx); err != nil {
		return nil, err
	}
	var lags []driver.PartitionLag
	for _, s := range all {
		stands, err := c.stands(ctx, s.topic)
		if err != nil {
			return nil, err
		}
		some := make([]driver.PartitionLag, len(stands))
		err = eachPartition(s.topic, func(p int) (err error) {
			some[p], err = c.lag(ctx, s, p, stands[p])
			return err
		})
		if err != nil {
			return nil, err
		}
		lags = append(lags, some...)
	}
	return lags, nil
}

// lag is how a group stands on one partition.
func (c *Conn) lag(ctx context.Context, s standing, p int, at stand) (driver.PartitionLag, error) {
	l := driver.PartitionLag{Group: s.group, Topic: s.topic.info.Name, Partition: p, End: driverkit.Position(at.end.last)}
	first := int64(0)
	err := c.journal(s.topic, s.group, p).look(ctx, func(x *state) error {
		var aside map[int64]bool
		l.Position, l.Epoch, l.Rate, l.Status = driverkit.Position(x.Position), x.Epoch, x.Rate, x.Status
		after := max(x.Position, at.base.Position)
		l.Parked, l.Dead, aside = x.side.count(x.Run, after)
		l.Events = max(0, at.end.last-after-int64(len(aside)))
		for first = after + 1; aside[first]; first++ {
		}
		if l.Status == "" && x.Dropped > 0 {
			l.Status = fmt.Sprintf("%d unhandled events were removed after the topic's hold of %v", x.Dropped, s.topic.info.Hold)
		}
		if seat, ok := s.doc.Seats[x.Seat]; ok {
			now := c.now()
			left := timeOf(seat.Until).Sub(now)
			l.Member, l.Lapses = driverkit.ProcessOf(x.Seat), timeOf(seat.Until)
			// Renewals come at a third of the lease: one was missed.
			l.MemberGone = left < time.Duration(seat.Lease)*time.Microsecond/3 || driverkit.ProcessEnded(x.Seat)
		}
		return nil
	})
	if err != nil || l.Events == 0 {
		return l, err
	}
	m, _, err := c.locate(ctx, s.topic, p, first)
	if errors.Is(err, errNone) {
		return l, nil // removed meanwhile
	}
	l.Oldest = m.time
	return l, err
}
