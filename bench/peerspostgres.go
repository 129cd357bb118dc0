package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// watermillPoll and watermillRows served watermill best.
	watermillPoll = 5 * time.Millisecond
	watermillRows = 1000
	// riverWorkers and riverCooldown served River best.
	riverWorkers  = 2000
	riverCooldown = time.Millisecond
)

// watermillPostgres is watermill on Postgres, with the settings that serve it best. It
// keeps data as bytes, as all do here.
func watermillPostgres(ctx context.Context, url string, handle func([]byte)) (*started, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	db := wsql.BeginnerFromPgx(pool)
	schema := wsql.DefaultPostgreSQLSchema{
		GeneratePayloadType: func(string) string { return "BYTEA" }, SubscribeBatchSize: watermillRows,
	}
	sub, err := wsql.NewSubscriber(db, wsql.SubscriberConfig{
		ConsumerGroup: "bench", PollInterval: watermillPoll, InitializeSchema: true,
		SchemaAdapter: schema, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
	}, watermill.NopLogger{})
	if err != nil {
		pool.Close()
		return nil, err
	}
	messages, err := sub.Subscribe(ctx, "orders")
	if err != nil {
		pool.Close()
		return nil, err
	}
	publisher, err := wsql.NewPublisher(db, wsql.PublisherConfig{SchemaAdapter: schema}, watermill.NopLogger{})
	if err != nil {
		return nil, errors.Join(err, sub.Close())
	}
	var handling sync.WaitGroup
	handling.Go(func() { watermillHandle(messages, handle) })
	return &started{
		publish: func(_ context.Context, events []event) error {
			return publisher.Publish("orders", watermillBatch(events)...)
		},
		stop: func() error {
			err := errors.Join(sub.Close(), publisher.Close())
			handling.Wait()
			pool.Close()
			return err
		},
	}, nil
}

// orderJob is an event as a job of River's.
type orderJob struct {
	Data []byte `json:"data"`
}

// Kind names the job's type.
func (orderJob) Kind() string { return "order" }

// orderWorker works on jobs.
type orderWorker struct {
	river.WorkerDefaults[orderJob]
	handle func([]byte)
}

// Work handles one job.
func (w *orderWorker) Work(_ context.Context, job *river.Job[orderJob]) error {
	w.handle(job.Args.Data)
	return nil
}

// riverPostgres is River, a job queue, with the settings that serve it best.
func riverPostgres(ctx context.Context, url string, handle func([]byte)) (*started, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	client, err := openRiver(ctx, pool, handle)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &started{
		publish: func(ctx context.Context, events []event) error {
			jobs := make([]river.InsertManyParams, len(events))
			for i := range events {
				jobs[i].Args = orderJob{events[i].data}
			}
			_, err := client.InsertManyFast(ctx, jobs)
			return err
		},
		stop: func() error {
			err := client.Stop(context.WithoutCancel(ctx))
			pool.Close()
			return err
		},
	}, nil
}

func openRiver(ctx context.Context, pool *pgxpool.Pool, handle func([]byte)) (*river.Client[pgx.Tx], error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &orderWorker{handle: handle})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
		Workers: workers, FetchCooldown: riverCooldown, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return client, client.Start(context.WithoutCancel(ctx))
}
