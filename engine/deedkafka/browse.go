package deedkafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// fetchBytes is about how much one request reads.
const fetchBytes = 1 << 20

// fetch reads records of a partition from an offset on, and returns the offset after
// them. It waits for nothing; at the end it returns no record and the same offset.
func (c *Conn) fetch(
	ctx context.Context, name string, partition int, offset int64, bytes int32,
) (rs []*kgo.Record, next int64, err error) {
	for try := range 3 { // a partition may have moved
		if rs, next, err = c.fetchOnce(ctx, name, partition, offset, bytes); err == nil || !kerr.IsRetriable(err) ||
			errors.Is(err, kerr.UnknownTopicOrPartition) {
			return rs, next, err
		}
		select {
		case <-time.After(time.Duration(try+1) * 50 * time.Millisecond):
		case <-ctx.Done():
			return nil, offset, ctx.Err()
		}
	}
	return rs, next, err
}

func (c *Conn) fetchOnce(
	ctx context.Context, name string, partition int, offset int64, bytes int32,
) (rs []*kgo.Record, next int64, err error) {
	details, err := c.details(ctx, name)
	if err != nil {
		return nil, offset, err
	}
	detail, ok := details[name].Partitions[int32(partition)]
	if err := cmp.Or(details[name].Err, detail.Err); err != nil || !ok {
		return nil, offset, cmp.Or(err, error(kerr.UnknownTopicOrPartition))
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(partition), offset, bytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = name, details[name].ID, []kmsg.FetchRequestTopicPartition{p}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 0, 0, bytes, 1
	req.Topics = []kmsg.FetchRequestTopic{t}
	answer, err := c.client.Broker(int(detail.Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, offset, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, offset, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, offset, nil
	}
	rp := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
		return nil, offset, err
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: name, Partition: int32(partition),
	}, rp, kgo.DefaultDecompressor(), nil)
	return got.Records, next, got.Err
}

// ends returns the first offset of each partition and the one after the last.
func (c *Conn) ends(ctx context.Context, t *topic) (starts, ends []int64, err error) {
	n := len(t.detail.Partitions)
	starts, ends = make([]int64, n), make([]int64, n)
	first, err := c.admin.ListStartOffsets(ctx, t.name)
	if err != nil {
		return nil, nil, err
	}
	last, err := c.admin.ListCommittedOffsets(ctx, t.name)
	if err != nil {
		return nil, nil, err
	}
	for p := range n {
		a, here := first.Lookup(t.name, int32(p))
		b, there := last.Lookup(t.name, int32(p))
		if !here || !there {
			return nil, nil, kerr.UnknownTopicOrPartition
		}
		if err := cmp.Or(a.Err, b.Err); err != nil {
			return nil, nil, err
		}
		starts[p], ends[p] = a.Offset, b.Offset
	}
	return starts, ends, nil
}

// partition looks at a topic and refuses a partition that it does not have.
func (c *Conn) partition(ctx context.Context, name string, p int) (*topic, error) {
	t, err := c.look(ctx, name)
	if err == nil && (p < 0 || p >= len(t.detail.Partitions)) {
		err = fmt.Errorf("%w: partition %d of %d", driver.ErrRefused, p, len(t.detail.Partitions))
		return nil, c.fail("topic "+name, err)
	}
	return t, err
}

// Browse implements [driver.Browser].
func (c *Conn) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	t, err := c.partition(ctx, p.Topic, p.Partition)
	if err != nil {
		return nil, err
	}
	after, err := driverkit.ParsePosition(p.After)
	if err != nil {
		return nil, c.fail("browse "+p.Topic, err)
	}
	starts, ends, err := c.ends(ctx, t)
	if err != nil {
		return nil, c.fail("browse "+p.Topic, err)
	}
	start, end := starts[p.Partition], ends[p.Partition]
	var ds []driver.Delivery
	if p.Backward {
		if after > 0 {
			end = min(end, after-1)
		}
		ds, err = c.backward(ctx, &p, start, end)
	} else {
		ds, err = c.between(ctx, &p, max(start, after), end, p.Limit)
	}
	return ds, c.fail("browse "+p.Topic, err)
}

// between reads at most limit events of offsets from at to before end.
func (c *Conn) between(ctx context.Context, p *driver.Page, at, end int64, limit int) ([]driver.Delivery, error) {
	var ds []driver.Delivery
	for at < end && len(ds) < limit {
		rs, next, err := c.fetch(ctx, p.Topic, p.Partition, at, fetchBytes)
		if err != nil {
			return nil, err
		}
		if next == at && len(rs) == 0 {
			break // cut off meanwhile
		}
		for _, r := range rs {
			if r.Offset < end && len(ds) < limit {
				ds = append(ds, c.settings.delivery(r, p.Topic, &driver.Message{}))
			}
		}
		at = next
	}
	return ds, nil
}

// backward reads the last events before end, newest first. Where offsets have no event it
// goes on further back.
func (c *Conn) backward(ctx context.Context, p *driver.Page, start, end int64) ([]driver.Delivery, error) {
	var ds []driver.Delivery
	for end > start && len(ds) < p.Limit {
		from := max(start, end-int64(p.Limit-len(ds)))
		some, err := c.between(ctx, p, from, end, p.Limit)
		if err != nil {
			return nil, err
		}
		slices.Reverse(some)
		ds = append(ds, some...)
		end = from
	}
	return ds, nil
}

// Seek implements [driver.Browser].
func (c *Conn) Seek(ctx context.Context, name string, partition int, at time.Time) (string, error) {
	t, err := c.partition(ctx, name, partition)
	if err != nil {
		return "", err
	}
	offsets, err := c.since(ctx, t, at)
	if err != nil {
		return "", c.fail("seek in "+name, err)
	}
	return driverkit.Position(offsets[partition]), nil
}

// since returns for each partition the offset of the first event stored at or after a
// time.
func (c *Conn) since(ctx context.Context, t *topic, at time.Time) ([]int64, error) {
	milli := at.UnixMilli()
	if at.After(time.UnixMilli(milli)) {
		milli++
	}
	listed, err := c.admin.ListOffsetsAfterMilli(ctx, max(milli, 0), t.name)
	if err != nil {
		return nil, err
	}
	offsets := make([]int64, len(t.detail.Partitions))
	for p := range offsets {
		o, _ := listed.Lookup(t.name, int32(p))
		if o.Err != nil {
			return nil, o.Err
		}
		offsets[p] = o.Offset
	}
	return offsets, nil
}

// Ends implements [driver.Browser].
func (c *Conn) Ends(ctx context.Context, name string) ([]string, error) {
	t, err := c.look(ctx, name)
	if err != nil {
		return nil, err
	}
	_, ends, err := c.ends(ctx, t)
	if err != nil {
		return nil, c.fail("ends of "+name, err)
	}
	positions := make([]string, len(ends))
	for p, end := range ends {
		positions[p] = driverkit.Position(end)
	}
	return positions, nil
}

// Compare implements [driver.Browser].
func (c *Conn) Compare(a, b string) (int, error) {
	order, err := driverkit.ComparePositions(a, b)
	return order, c.fail("compare", err)
}
