package deedamqp

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driverkit"
)

// RabbitMQ tells how many messages wait in a queue, and not how many a consumer has and has
// not acknowledged. So whoever counts asks the members: each has a queue of its own, which
// ends with its connection, and gets what is published to the topic's exchange with the key
// "ask/GROUP". It answers to the queue that the question names.

const (
	answerPatience = time.Second
	askRounds      = 2 // an event that moves while it is counted is found by the other round
	replyQueue     = "amq.rabbitmq.reply-to"
)

// held is what a member has of a partition.
type held struct {
	Partition int    `json:"partition"`
	Events    int64  `json:"events"`
	Oldest    int64  `json:"oldest,omitempty"` // nanoseconds since 1970
	Last      string `json:"last,omitempty"`
}

// answer tells whoever asks what this member has, until the feed is closed.
func (f queueFeed) answer() {
	for f.ctx.Err() == nil {
		_ = f.listen() // else whoever asks is told that nobody answers
		select {
		case <-time.After(reopenMax / 4):
		case <-f.ctx.Done():
		}
	}
}

func (f queueFeed) listen() error {
	ch, err := f.c.channel(f.ctx)
	if err != nil {
		return err
	}
	defer ch.Close()
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return err
	}
	if err := ch.QueueBind(q.Name, askKey(f.group), f.topic, false, nil); err != nil {
		return err
	}
	asked, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case r, ok := <-asked:
			if !ok {
				return amqp.ErrClosed
			}
			body, err := json.Marshal(f.holds())
			if err != nil {
				return err
			}
			err = ch.PublishWithContext(f.ctx, "", r.ReplyTo, false, false, amqp.Publishing{Body: body})
			if err != nil {
				return err
			}
		case <-f.ctx.Done():
			return nil
		}
	}
}

// holds counts what has come and is not settled, with what is on its way.
func (f queueFeed) holds() []held {
	f.mu.Lock()
	taps := maps.Clone(f.taps)
	f.mu.Unlock()
	limit := time.NewTimer(answerPatience / 2)
	defer limit.Stop()
	var all []held
	for _, p := range slices.Sorted(maps.Keys(taps)) {
		t, flushed := taps[p].(*queueTap), make(chan struct{})
		select {
		case t.flushes <- flushed:
			select {
			case <-flushed:
			case <-t.shut:
			}
		case <-t.shut:
			continue
		case <-limit.C:
			return all
		}
		f.mu.Lock()
		h := held{Partition: p, Events: int64(len(t.entries))}
		if n := len(t.entries); n > 0 {
			h.Oldest, h.Last = t.entries[0].stored, strconv.FormatInt(t.entries[n-1].n, 10)
		}
		f.mu.Unlock()
		all = append(all, h)
	}
	return all
}

// Waiting implements [driverkit.Queues].
func (c *Conn) Waiting(ctx context.Context, group, topic string, partitions int) ([]driverkit.Waiting, error) {
	all := make([]driverkit.Waiting, partitions)
	for range askRounds {
		ready, err := c.queues(ctx, group, topic, partitions)
		if err != nil {
			return nil, c.fail("count "+group+" on "+topic, err)
		}
		answers, err := c.ask(ctx, group, topic, ready)
		if err != nil {
			return nil, c.fail("ask "+group+" on "+topic, err)
		}
		for p := range all {
			w := waiting(ready[p], answers[p])
			if w.Events >= all[p].Events {
				all[p] = w
			}
		}
	}
	return all, nil
}

// waiting adds what is in a queue to what its reader has.
func waiting(q *amqp.Queue, h *held) driverkit.Waiting {
	switch {
	case q == nil:
		return driverkit.Waiting{Status: "its queue is gone, with what was in it"}
	case h == nil && q.Consumers > 0:
		return driverkit.Waiting{
			Events: int64(q.Messages), Status: "its reader does not answer: what that has and has not settled is not counted",
		}
	case h == nil:
		return driverkit.Waiting{Events: int64(q.Messages)}
	}
	w := driverkit.Waiting{Events: int64(q.Messages) + h.Events}
	if h.Oldest > 0 {
		w.Oldest = time.Unix(0, h.Oldest).UTC()
	}
	if q.Messages == 0 {
		w.Last = h.Last
	}
	return w
}

// queues looks at the queues of a group; nil is one that is gone.
func (c *Conn) queues(ctx context.Context, group, topic string, partitions int) ([]*amqp.Queue, error) {
	all := make([]*amqp.Queue, partitions)
	for p := 0; p < partitions; {
		err := c.with(ctx, func(ch *amqp.Channel) error {
			for ; p < partitions; p++ {
				q, err := ch.QueueDeclarePassive(queueName(group, topic, p), true, false, false, false, nil)
				if err != nil {
					return err
				}
				all[p] = &q
			}
			return nil
		})
		if err != nil && !notFound(err) {
			return nil, err
		}
		p++ // past the one that is gone, whose channel went with it
	}
	return all, nil
}

// ask returns the answers of the members, as far as there are readers that could have any.
func (c *Conn) ask(ctx context.Context, group, topic string, queues []*amqp.Queue) ([]*held, error) {
	answers := make([]*held, len(queues))
	want := 0
	for _, q := range queues {
		if q != nil && q.Consumers > 0 {
			want++
		}
	}
	if want == 0 {
		return answers, nil
	}
	return answers, c.with(ctx, func(ch *amqp.Channel) error {
		came, err := ch.Consume(replyQueue, "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		nobody := ch.NotifyReturn(make(chan amqp.Return, 1))
		question := amqp.Publishing{ReplyTo: replyQueue}
		if err := ch.PublishWithContext(ctx, topic, askKey(group), true, false, question); err != nil {
			return err
		}
		limit := time.NewTimer(answerPatience)
		defer limit.Stop()
		for want > 0 {
			select {
			case r, ok := <-came:
				if !ok {
					return amqp.ErrClosed
				}
				want -= note(answers, r.Body)
			case <-limit.C:
				return nil
			case <-nobody:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
}

// note keeps what a member answers, and returns for how many partitions it is the first.
func note(answers []*held, body []byte) (first int) {
	var all []held
	if json.Unmarshal(body, &all) != nil {
		return 0
	}
	for i := range all {
		h := &all[i]
		if h.Partition < 0 || h.Partition >= len(answers) {
			continue
		}
		if answers[h.Partition] == nil {
			first++
		} else if answers[h.Partition].Events > h.Events {
			continue
		}
		answers[h.Partition] = h
	}
	return first
}
