package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// Along is a group that nobody is in before the end. On an engine that cannot be read
// without a group it tells what was stored.
const Along = "along"

// gather makes the groups of the run before anything is published, where they get only what
// comes after that.
func (r *run) gather(ctx context.Context) error {
	if r.bus.Features().Backlog {
		return nil
	}
	var queues []string
	topics, _ := driver.As[driver.Topics](r.bus.Conn())
	for _, topic := range r.config.Load.topics() {
		settings := driver.TopicSettings{Partitions: partitionsOf(topic)}
		if _, err := topics.CreateTopic(ctx, topic.Name(), settings); err != nil {
			return err
		}
		for _, group := range []string{Effects, Plain, Along} {
			sub, err := r.bus.Conn().Subscribe(ctx, driver.SubscribeSpec{Topic: topic.Name(), Group: group, Lease: time.Second})
			if err == nil {
				err = sub.Close()
			}
			if err != nil {
				return fmt.Errorf("make group %s: %w", group, err)
			}
			for p := range partitionsOf(topic) {
				queues = append(queues, fmt.Sprintf("%s/%s/%d", topic.Name(), group, p))
			}
		}
	}
	if server, ok := r.config.Server.(interface{ Noted(queues ...string) }); ok {
		server.Noted(queues...)
	}
	return nil
}

// storedAlong returns what the group Along gets of a topic: all that was stored.
func (r *run) storedAlong(ctx context.Context, topic string, partitions int) (ops []Op, err error) {
	ctx, cancel := context.WithTimeout(ctx, stubborn)
	defer cancel()
	sub, err := r.bus.Conn().Subscribe(ctx, driver.SubscribeSpec{Topic: topic, Group: Along, Lease: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sub.Close()) }()
	groups, _ := driver.As[driver.Groups](r.bus.Conn())
	epochs := map[int]int64{}
	for {
		limited, stop := context.WithTimeout(ctx, time.Second)
		got, err := sub.Receive(limited, driver.Fetch{Events: 1000, Bytes: 8 << 20})
		stop()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		for _, c := range got.Granted {
			epochs[c.Partition] = c.Epoch
		}
		last := map[int]string{}
		for _, d := range got.Deliveries {
			op := seen(Stored, d.ID, d.Key, d.Data)
			op.Time, op.Pos = time.Now().UnixNano(), fmt.Sprintf("%d-%s", d.Partition, d.Position)
			op.Part = partOf(topic, d.Partition)
			ops, last[d.Partition] = append(ops, op), d.Position
		}
		var settled []driver.Settlement
		for p, position := range last {
			settled = append(settled, driver.Settlement{Partition: p, Epoch: epochs[p], Position: position})
		}
		if _, err := sub.Settle(ctx, settled); err != nil {
			return nil, err
		}
		if len(got.Deliveries) > 0 || len(epochs) < partitions {
			continue
		}
		lags, err := groups.Lag(ctx, Along, topic)
		if err != nil {
			return nil, err
		}
		left := int64(0)
		for _, l := range lags {
			left += l.Events
		}
		if left == 0 {
			return ops, nil
		}
	}
}

// dlqApart is dlq by ids, where each group has positions of its own. What nobody confirmed
// one group may have had, and another not, so that an event is there as often as it may.
func dlqApart(h *History, want map[place]Op) (found []string) {
	wanted := map[string]bool{}
	for _, op := range want {
		wanted[op.ID] = true
	}
	for _, group := range []string{Effects, Plain} {
		got := map[string]bool{}
		for _, op := range h.in(group, Letter) {
			got[op.ID] = true
			poison := h.invoked[op.ID].State == poisoned
			if !wanted[op.ID] || op.State == "dead" && !poison || op.State != "dead" && op.State != "behind" {
				found = append(found, fmt.Sprintf("group %s: %s at %s is %s (%s), which does not follow from the topic",
					group, op.ID, op.Pos, op.State, op.Err))
			}
		}
		if len(h.of(Lenient)) > 0 {
			continue // some of it was accepted in time
		}
		for id := range wanted {
			if !got[id] {
				found = append(found, fmt.Sprintf("group %s: %s is not in the side log", group, id))
			}
		}
	}
	slices.Sort(found)
	return found
}

// partitionsOf returns how many partitions a topic of the run has.
func partitionsOf(t *deed.Topic) int {
	if t.Name() == accountTopic.Name() {
		return accountPartitions
	}
	return partitions
}
