package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deedgo/deed"
)

// rawRedis writes XADDs of the very bytes that deed writes, one pipeline for each
// batch, in the protocol itself and without a client library. Nobody reads: an event
// counts as handled when the server has answered.
func rawRedis(_ context.Context, s *redisServer, handle func([]byte)) (*started, error) {
	pool := &sync.Pool{New: func() any {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			return err
		}
		return &rawConn{conn: conn, replies: bufio.NewReaderSize(conn, 64<<10)}
	}}
	return &started{
		publish: func(_ context.Context, events []event) error {
			got := pool.Get()
			c, ok := got.(*rawConn)
			if !ok {
				return got.(error)
			}
			if err := c.add(events); err != nil {
				return err
			}
			pool.Put(c)
			for i := range events {
				handle(events[i].data)
			}
			return nil
		},
		stop: func() error { return nil }, // the connections end with the process
	}, nil
}

type rawConn struct {
	conn    net.Conn
	replies *bufio.Reader
	out     []byte
}

// add sends the events and reads an id for each.
func (c *rawConn) add(events []event) error {
	c.out = c.out[:0]
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for _, e := range events {
		attributes := `{"id":"` + deed.NewID() + `","source":"/bench","type":"orders.created","partitionkey":"` + e.key +
			`","time":"` + now + `","datacontenttype":"application/octet-stream"}`
		c.out = append(c.out, "*7\r\n"...)
		c.out = bulk(c.out, "XADD")
		c.out = bulk(c.out, "deed:{orders:0}")
		c.out = bulk(c.out, "*")
		c.out = bulk(c.out, "m")
		c.out = bulk(c.out, attributes)
		c.out = bulk(c.out, "d")
		c.out = bulk(c.out, string(e.data))
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	for range events {
		line, err := c.replies.ReadSlice('\n') // $ and the length of an id
		if err != nil {
			return err
		}
		if line[0] != '$' {
			return fmt.Errorf("the server says %q", line)
		}
		if _, err := c.replies.ReadSlice('\n'); err != nil {
			return err
		}
	}
	return nil
}

func bulk(b []byte, s string) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "\r\n"...)
	b = append(b, s...)
	return append(b, "\r\n"...)
}

// bareRedis is the least that passes an event on: an XADD for each, and an XREAD that
// waits for what comes next. It remembers nothing, so it is no system to use, but the
// floor of latency.
func bareRedis(ctx context.Context, s *redisServer, handle func([]byte)) (*started, error) {
	const stream = "orders"
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for last := "0"; ctx.Err() == nil; {
			got, err := client.XRead(ctx, &redis.XReadArgs{
				Streams: []string{stream, last}, Count: 256, Block: time.Second,
			}).Result()
			if err != nil || len(got) == 0 {
				continue
			}
			for _, m := range got[0].Messages {
				data, _ := m.Values["data"].(string)
				handle([]byte(data))
				last = m.ID
			}
		}
	})
	return &started{
		publish: func(ctx context.Context, events []event) error { return addEach(ctx, client, stream, events) },
		stop: func() error {
			cancel()
			reading.Wait()
			return client.Close()
		},
	}, nil
}

func addEach(ctx context.Context, client *redis.Client, stream string, events []event) error {
	for _, e := range events {
		values := []any{"id", deed.NewID(), "key", e.key, "data", e.data}
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: values}).Err(); err != nil {
			return err
		}
	}
	return nil
}

// naiveRedis is what one writes first: an XADD for each event, a group that reads ten and
// acknowledges each.
func naiveRedis(ctx context.Context, s *redisServer, handle func([]byte)) (*started, error) {
	const stream, group = "orders", "bench"
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	if err := client.XGroupCreateMkStream(ctx, stream, group, "0").Err(); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			got, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: group, Consumer: "one", Streams: []string{stream, ">"}, Count: 10, Block: time.Second,
			}).Result()
			if err != nil || len(got) == 0 {
				continue
			}
			for _, m := range got[0].Messages {
				data, _ := m.Values["data"].(string)
				handle([]byte(data))
				client.XAck(ctx, stream, group, m.ID)
			}
		}
	})
	return &started{
		publish: func(ctx context.Context, events []event) error { return addEach(ctx, client, stream, events) },
		stop: func() error {
			cancel()
			reading.Wait()
			return client.Close()
		},
	}, nil
}
