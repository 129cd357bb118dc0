package deedredis

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// appendMost and appendBytes bound what one script appends, if that is more than one
// batch, so that others get their turn.
const (
	appendMost  = 256
	appendBytes = 1 << 20
)

// appending gathers batches into script calls. In a cluster, where each partition has a
// slot of its own, a script appends one.
type appending struct {
	c     *Conn
	calls []call
	of    [][]int // the batches of each call

	events, bytes int // of the last call

	// What the events are written into. It is a copy, since the client may still be
	// sending when a caller who gave up gets the messages back.
	block []byte
	at    int // where the argument begins that is being written
}

// newAppending takes a block that was used before, if there is one.
func newAppending(c *Conn) *appending {
	select {
	case block := <-c.blocks:
		return &appending{c: c, block: block}
	default:
		return &appending{c: c}
	}
}

// A connection keeps as many blocks as Publish calls gain by running at once, and none
// that is larger than a usual flush.
const (
	flights   = 2
	blockMost = 2 << 20
)

// giveBack ends the use of the block, if the server has answered to all that was sent from
// it. Else the client may be sending it yet.
func (a *appending) giveBack(results []rueidis.RedisResult) {
	for _, r := range results {
		err := r.Error()
		if _, server := rueidis.IsRedisErr(err); err != nil && !server {
			return
		}
	}
	if cap(a.block) > blockMost {
		return
	}
	select {
	case a.c.blocks <- a.block[:0]:
	default:
	}
}

// text ends an argument and returns it.
func (a *appending) text() string {
	part := rueidis.BinaryString(a.block[a.at:])
	a.at = len(a.block)
	return part
}

// add checks a batch and puts it into a call.
func (a *appending) add(ctx context.Context, i int, b *driver.Batch) error {
	t, full, err := a.c.publishing(ctx, b)
	if err != nil {
		return err
	}
	bytes := 0
	for k := range b.Messages {
		bytes += len(b.Messages[k].Data)
	}
	a.events, a.bytes = a.events+len(b.Messages), a.bytes+bytes
	if a.calls == nil || a.c.cluster || a.events > appendMost || a.bytes > appendBytes {
		a.calls, a.of = append(a.calls, call{script: publishScript}), append(a.of, nil)
		a.events, a.bytes = len(b.Messages), bytes
	}
	last := len(a.calls) - 1
	x := &a.calls[last]
	x.keys, x.args = append(x.keys, t.keys[b.Partition]...), a.args(x.args, t, b, full)
	a.of[last] = append(a.of[last], i)
	return nil
}

// headArgs is how many arguments say what a batch is.
const headArgs = 7

// args writes what the script publish.lua takes of a batch.
func (a *appending) args(args []string, t *topic, b *driver.Batch, full bool) []string {
	begin := len(args)
	args = slices.Grow(args, headArgs+2*len(b.Messages))[:begin+headArgs]
	head := args[begin:]
	head[1], head[2], head[3] = strconv.Itoa(b.Generation), b.Producer, strconv.FormatInt(b.Seq, 10)
	head[4], head[6] = strconv.Itoa(len(b.Messages)), flag(full)
	switch delayed := delays(b); {
	case t.info.Dedupe > 0 || delayed:
		head[5] = "whole"
		args = a.single(args, b.Messages, true)
	case t.info.Pack && len(b.Messages) > 1:
		head[5] = "packed"
		args = a.packs(args, b.Messages)
	default:
		head[5] = "plain"
		args = a.single(args, b.Messages, false)
	}
	args[begin] = strconv.Itoa(len(args) - begin)
	return args
}

// single writes events one by one, those that may be delayed or known already with when
// they are due and who they are.
func (a *appending) single(args []string, ms []driver.Message, whole bool) []string {
	for i := range ms {
		m := &ms[i]
		a.block = driverkit.AppendAttributes(a.block, m)
		attributes := a.text()
		a.block = append(a.block, m.Data...)
		args = append(args, attributes, a.text())
		if whole {
			args = append(args, dueMicros(m.NotBefore), m.Source+"\x00"+m.ID)
		}
	}
	return args
}

// packMost is how many events an entry holds at most, so that reading one more is
// never much.
const packMost = 256

// packs writes events that are stored together.
func (a *appending) packs(args []string, all []driver.Message) []string {
	for ms := range slices.Chunk(all, packMost) {
		for i := range ms {
			if i > 0 {
				a.block = append(a.block, ',')
			}
			a.block = strconv.AppendInt(a.block, int64(len(ms[i].Data)), 10)
		}
		sizes := a.text()
		for i := range ms {
			if i > 0 {
				a.block = append(a.block, '\n')
			}
			a.block = driverkit.AppendAttributes(a.block, &ms[i])
		}
		attributes := a.text()
		for i := range ms {
			a.block = append(a.block, ms[i].Data...)
		}
		args = append(args, sizes, attributes, a.text(), strconv.Itoa(len(ms)))
	}
	return args
}

func delays(b *driver.Batch) bool {
	for i := range b.Messages {
		if !b.Messages[i].NotBefore.IsZero() {
			return true
		}
	}
	return false
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// dueMicros is when an event is due, as the due store sorts by.
func dueMicros(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	us := t.UnixMicro()
	if t.Nanosecond()%1000 > 0 {
		us++ // never before
	}
	return strconv.FormatInt(us, 10)
}
