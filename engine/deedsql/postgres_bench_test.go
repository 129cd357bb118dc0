package deedsql

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
)

// postgresBench runs a durable server and opens a topic on it.
func postgresBench(b *testing.B) (*Conn, string) {
	b.Helper()
	s := pgtest.Start(b, pgtest.Durable, "shared_buffers = 512MB", "max_wal_size = 8GB")
	url := s.URL(s.Database(b))
	c := openURL(b, url)
	topicOf(b, c, "orders", driver.TopicSettings{})
	return c, url
}

// BenchmarkPostgresRaw inserts the same bytes by 4 connections in statements of 1,000
// rows, into a table with nothing but a primary key.
func BenchmarkPostgresRaw(b *testing.B) {
	c, _ := postgresBench(b)
	if _, err := c.db.Exec("CREATE TABLE raw (n bigserial PRIMARY KEY, meta text, data bytea)"); err != nil {
		b.Fatal(err)
	}
	const rows = 1000
	metas, datas := make([]string, 0, rows), make([][]byte, 0, rows)
	for _, batch := range events("orders", 1, rows) {
		for i := range batch.Messages {
			metas = append(metas, string(appendMeta(nil, &batch.Messages[i], 1)))
			datas = append(datas, batch.Messages[i].Data)
		}
	}
	b.ResetTimer()
	each4(b, func(ctx context.Context) error {
		_, err := c.db.ExecContext(ctx, "INSERT INTO raw (meta, data) SELECT * FROM unnest($1::text[], $2::bytea[])",
			metas, datas)
		return err
	})
	b.ReportMetric(float64(4*b.N*rows)/b.Elapsed().Seconds(), "events/s")
}

// each4 calls f b.N times in each of 4 goroutines.
func each4(b *testing.B, f func(context.Context) error) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range b.N {
				if err := f(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkPostgresPublish measures stored events a second with 4 callers, by the events
// in a call.
func BenchmarkPostgresPublish(b *testing.B) {
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c, _ := postgresBench(b)
			bs := events("orders", min(16, size), size)
			b.ResetTimer()
			each4(b, func(ctx context.Context) error { _, err := c.Publish(ctx, bs); return err })
			b.ReportMetric(float64(4*b.N*size)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkPostgresSnapshot is BenchmarkPostgresPublish of 64 events with a snapshot
// that stays open.
func BenchmarkPostgresSnapshot(b *testing.B) {
	c, _ := postgresBench(b)
	tx, err := c.db.BeginTx(b.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it has written nothing
	for _, q := range []string{"SET LOCAL idle_in_transaction_session_timeout = 0", "SELECT 1"} {
		if _, err := tx.Exec(q); err != nil {
			b.Fatal(err)
		}
	}
	bs := events("orders", 16, 64)
	b.ResetTimer()
	each4(b, func(ctx context.Context) error { _, err := c.Publish(ctx, bs); return err })
	b.ReportMetric(float64(4*b.N*64)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPostgresReceive measures events a second that a subscription reads which did
// not publish them.
func BenchmarkPostgresReceive(b *testing.B) {
	c, url := postgresBench(b)
	bs := events("orders", 16, 1024)
	for stored := 0; stored < b.N; stored += 1024 {
		if _, err := c.Publish(b.Context(), bs); err != nil {
			b.Fatal(err)
		}
	}
	s := subscribe(b, openURL(b, url), "orders", "g", 10*time.Second)
	b.ResetTimer()
	for got := 0; got < b.N; {
		r, err := s.Receive(b.Context(), driver.Fetch{Events: 1024, Bytes: 8 << 20})
		if err != nil {
			b.Fatal(err)
		}
		got += len(r.Deliveries)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
