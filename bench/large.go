package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

const (
	largeTurn = 50_000 // events that are published and handled in a turn
	largeSeed = 16_000 // events that a large log is made of, again and again
	largeLags = 50     // times that lag is asked for in a turn
)

// checkLarge fails when publishing, handling or lag is much slower with s.large events in
// the log than with none.
func checkLarge(ctx context.Context, s *settings, dir string) error {
	empty, full, err := startPair(ctx, s, dir)
	if err != nil {
		return err
	}
	err = compareLarge(ctx, s, empty, full)
	return errors.Join(err, empty.stop(), full.stop())
}

func compareLarge(ctx context.Context, s *settings, empty, full *contender) error {
	began := time.Now()
	stored, err := full.grow(ctx, s.large)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d events were stored in %v\n", stored, time.Since(began).Round(time.Second))
	for _, c := range []*contender{empty, full} {
		if err := c.joinGroups(ctx); err != nil {
			return err
		}
	}
	all := []*compared{{what: "published a second"}, {what: "handled a second"}, {what: "lag asked for a second"}}
	events := min(largeTurn, max(s.large/10, 1024))
	for round := range s.rounds {
		for _, c := range []*contender{empty, full} {
			fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, s.rounds)
			rates, err := c.turn(ctx, events)
			if err != nil {
				return err
			}
			for i, rate := range rates {
				if c == full {
					all[i].other = append(all[i].other, rate)
				} else {
					all[i].plain = append(all[i].plain, rate)
				}
			}
		}
	}
	return judge(all, "an empty log", fmt.Sprintf("a log of %d events", stored))
}

// grow makes a log of about n events: some are published, and copied in the server.
func (c *contender) grow(ctx context.Context, n int) (stored int, err error) {
	feed := newFeed()
	if err := fill(ctx, c.bus, min(n, largeSeed), feed.batch); err != nil {
		return 0, err
	}
	copies := strconv.Itoa(max(n/largeSeed-1, 1))
	seed := "create table seed as select * from deed_log"
	sizes := "select topic_id, `partition`, max(position) as n, max(bytes) as b from seed group by 1, 2"
	put := "insert into deed_log (topic_id, `partition`, position, stored_at, bytes, meta, data) " +
		"select l.topic_id, l.`partition`, l.position + g.seq * c.n, l.stored_at, l.bytes + g.seq * c.b, l.meta, l.data " +
		"from %s g cross join (" + sizes + ") c join seed l on l.topic_id = c.topic_id and l.`partition` = c.`partition`"
	if c.mysql() {
		err = c.exec(ctx, seed, fmt.Sprintf(put, "seq_1_to_"+copies),
			"update deed_head h join (select topic_id, `partition`, max(position) as n, max(bytes) as b from deed_log "+
				"group by 1, 2) e on e.topic_id = h.topic_id and e.`partition` = h.`partition` set h.position = e.n, h.bytes = e.b",
			"drop table seed")
	} else {
		plain := strings.ReplaceAll(fmt.Sprintf(put, "(select generate_series(1, "+copies+") as seq)"), "`", "")
		err = c.exec(ctx, seed, plain, "drop table seed", "vacuum (analyze) deed_log", "checkpoint")
	}
	if err != nil {
		return 0, err
	}
	err = c.db.QueryRowContext(ctx, "select count(*) from deed_log").Scan(&stored)
	return stored, err
}

// joinGroups makes a group that handles what comes, and one that has all of it to do.
func (c *contender) joinGroups(ctx context.Context) error {
	topics, ok := driver.As[driver.Topics](c.bus.Conn())
	if !ok {
		return errors.New("the engine has no topics")
	}
	if _, err := topics.CreateTopic(ctx, "orders", driver.TopicSettings{}); err != nil {
		return err
	}
	for group, from := range map[string]driver.From{"bench": {End: true}, "behind": {}} {
		member, err := c.bus.Conn().Subscribe(ctx, driver.SubscribeSpec{
			Topic: "orders", Group: group, From: from, Lease: 10 * time.Second,
		})
		if err == nil {
			err = member.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turn publishes events, handles them and asks for the lag, and returns the rates of the
// three.
func (c *contender) turn(ctx context.Context, events int) ([]float64, error) {
	began := time.Now()
	if err := fill(ctx, c.bus, events, newFeed().batch); err != nil {
		return nil, err
	}
	published := float64(events) / time.Since(began).Seconds()
	began = time.Now()
	if err := c.handle(ctx, events); err != nil {
		return nil, err
	}
	handled := float64(events) / time.Since(began).Seconds()
	groups, ok := driver.As[driver.Groups](c.reader.Conn())
	if !ok {
		return nil, errors.New("the engine tells nothing of its groups")
	}
	began = time.Now()
	for range largeLags {
		if _, err := groups.Lag(ctx, "", ""); err != nil {
			return nil, err
		}
	}
	return []float64{published, handled, largeLags / time.Since(began).Seconds()}, nil
}

// handle lets a member handle so many events.
func (c *contender) handle(ctx context.Context, events int) error {
	var handled atomic.Int64
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, on := codecNone.ends(deed.NewTopic("orders", nil), func([]byte) {
		if handled.Add(1) == int64(events) {
			cancel()
		}
	})
	err := c.reader.Run(ctx, deed.Subscribe("bench", nil, on))
	if err == nil && handled.Load() != int64(events) {
		err = fmt.Errorf("%d events were handled, want %d", handled.Load(), events)
	}
	return err
}
