package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/deedgo/deed"
)

// rawPostgres inserts rows of the very bytes that deed writes, a transaction for each
// batch. Nobody reads: an event counts as handled when it is committed.
func rawPostgres(
	insert func(context.Context, *pgxpool.Conn, []event) error,
) func(context.Context, string, func([]byte)) (*started, error) {
	return func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return nil, err
		}
		_, err = pool.Exec(ctx, "create table log (id bigint generated always as identity primary key, "+
			"key text not null, meta text not null, data bytea not null)")
		if err != nil {
			pool.Close()
			return nil, err
		}
		return &started{
			publish: func(ctx context.Context, events []event) error {
				err := pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return insert(ctx, c, events) })
				if err != nil {
					return err
				}
				for i := range events {
					handle(events[i].data)
				}
				return nil
			},
			stop: func() error {
				pool.Close()
				return nil
			},
		}, nil
	}
}

// metaOf is what deed keeps of an event beside its data, about.
func metaOf(e *event) string {
	return `{"id":"` + deed.NewID() + `","source":"/bench","type":"orders.created","key":"` + e.key + `"}`
}

func insertUnnest(ctx context.Context, c *pgxpool.Conn, events []event) error {
	keys, metas, data := make([]string, len(events)), make([]string, len(events)), make([][]byte, len(events))
	for i := range events {
		keys[i], metas[i], data[i] = events[i].key, metaOf(&events[i]), events[i].data
	}
	_, err := c.Exec(ctx, "insert into log (key, meta, data) select * from unnest($1::text[], $2::text[], $3::bytea[])",
		keys, metas, data)
	return err
}

func insertCopy(ctx context.Context, c *pgxpool.Conn, events []event) error {
	rows := pgx.CopyFromSlice(len(events), func(i int) ([]any, error) {
		return []any{events[i].key, metaOf(&events[i]), events[i].data}, nil
	})
	_, err := c.CopyFrom(ctx, pgx.Identifier{"log"}, []string{"key", "meta", "data"}, rows)
	return err
}
