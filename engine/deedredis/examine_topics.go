package deedredis

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// poisoned is how far in the future the last id of a log is beyond any clock's error.
const poisoned = time.Minute

// examineTopics looks for partitions that lost their marker or their log, and for ids
// that somebody has set into the future.
func (c *Conn) examineTopics(ctx context.Context, x *examination) error {
	names, err := c.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		t, err := c.lookup(ctx, name)
		if err != nil {
			x.add(driver.Wrong, "topic "+name, err.Error(), "")
			continue
		}
		for p, keys := range t.keys {
			if err := c.examinePartition(ctx, x, "topic "+name, p, keys); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Conn) examinePartition(ctx context.Context, x *examination, what string, p int, keys []string) error {
	b := c.client.B()
	r := c.client.DoMulti(ctx, b.Hmget().Key(keys[1]).Field("last").Build(), b.Exists().Key(keys[0]).Build(),
		b.XinfoStream().Key(keys[0]).Build())
	marker, err := r[0].AsStrSlice()
	if err != nil {
		return err
	}
	there, err := r[1].AsBool()
	if err != nil {
		return err
	}
	switch {
	case marker[0] == "":
		x.add(driver.Wrong, what, fmt.Sprintf("partition %d has no marker: the server has lost it, and its events", p),
			"to start it empty, start a service again, or deed topics create; outboxes publish again what they keep")
		return nil
	case !there && marker[0] != "0":
		x.add(driver.Wrong, what, fmt.Sprintf("the log of partition %d is gone, which had %s events", p, marker[0]),
			"to start it empty, delete "+keys[1]+" too, then start a service again, or deed topics create; "+
				"outboxes publish again what they keep")
		return nil
	case !there:
		return nil
	}
	info, err := r[2].AsMap()
	if err != nil {
		return err
	}
	last := info["last-generated-id"]
	id, err := last.ToString()
	x.examineLast(what, p, id)
	return err
}

// examineLast looks at the last id that a log has given.
func (x *examination) examineLast(what string, p int, id string) {
	at, err := parsePosition(id)
	switch {
	case err != nil: // an id may have more bits than a position
		x.add(driver.Wrong, what, fmt.Sprintf("partition %d ends at %s, where reading stops and no event fits behind", p, id),
			"somebody added an entry with such an id: XDEL it, then XSETID to the last one left (see docs/guides/redis.md)")
	case at.stored().After(time.Now().Add(poisoned)):
		value := fmt.Sprintf("partition %d ends at %s, which is %s", p, id, at.stored().Format(time.DateTime))
		x.add(driver.Wrong, what, value, "somebody added an entry with such an id, or the server's clock was wrong: until "+
			"then the times of storing are not true, and nothing of the partition is old enough to be removed")
	}
}
