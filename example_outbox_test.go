package deed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// How do I change my database and announce it, both or neither?
func Example_outbox() {
	leave := enterTempDir()
	defer leave()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()

	// [write]
	sqlDB, err := sqldb.OpenSQLite("service.db", nil) // the service's own database
	if err != nil {
		log.Fatal(err)
	}
	defer sqlDB.Close()
	db := sqldb.SQLite(sqlDB)
	box := outbox.New(db, "/orders", nil)

	create := func(ctx context.Context, o OrderCreated) error {
		return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `insert into orders (id, total) values (?, ?)`, o.OrderID, o.Total)
			if err != nil {
				return err
			}
			return box.Publish(ctx, tx, Created.New(o))
		})
	}
	// [write]
	mustExec(sqlDB, `create table orders (id text primary key, total integer)`)
	if err := create(ctx, OrderCreated{OrderID: "o-1", Total: 4200}); err != nil {
		log.Fatal(err)
	}
	if err := create(ctx, OrderCreated{OrderID: "o-1", Total: 9900}); err == nil {
		log.Fatal("there are two orders o-1")
	}

	audit := deed.Subscribe("audit", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			fmt.Println("announced:", e.Data.OrderID, e.Data.Total)
			stop()
			return nil
		}))
	// [run]
	err = bus.Run(ctx, box, audit) // the relay of the outbox runs beside the subscriptions
	// [run]
	if err != nil {
		log.Fatal(err)
	}
	left, err := box.Pending(context.Background())
	fmt.Println("not announced yet:", left, err)

	// Output:
	// announced: o-1 4200
	// not announced yet: 0 <nil>
}

// How do I publish within a transaction of the database that the bus lives in?
func Example_joint() {
	leave := enterTempDir()
	defer leave()
	ctx := context.Background()
	sqlDB, err := sqldb.OpenSQLite("service.db", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sqlDB.Close()
	db := sqldb.SQLite(sqlDB)
	// [joint]
	bus, err := engine.Open(ctx, "sqlite:service.db", &deed.Options{Source: "/orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	box := outbox.New(db, "/orders", &outbox.Options{Bus: bus}) // db is service.db as well
	// [joint]
	if err := bus.Publish(ctx, Created.New(OrderCreated{OrderID: "o-1", Total: 4200})); err != nil { // makes the topic
		log.Fatal(err)
	}
	err = db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return box.Publish(ctx, tx, Created.New(OrderCreated{OrderID: "o-2", Total: 9900}))
	})
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range bus.Read(ctx, Created.Topic().Name(), nil) { // no relay has run
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Key)
	}

	// Output:
	// o-1
	// o-2
}

// How do I make a handler's effect happen once, whatever happens?
func Example_inbox() {
	leave := enterTempDir()
	defer leave()
	ctx := context.Background()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1", Total: 4200})
	sqlDB, err := sqldb.OpenSQLite("stock.db", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sqlDB.Close()
	mustExec(sqlDB, `create table stock (reserved integer); insert into stock values (0)`)

	// [handler]
	db := sqldb.SQLite(sqlDB)
	inventory := deed.Subscribe("inventory", nil,
		inbox.On(db, Created, func(ctx context.Context, tx *sql.Tx, e deed.Received[OrderCreated]) error {
			// The update and the note that this event is done commit together.
			_, err := tx.ExecContext(ctx, `update stock set reserved = reserved + 1`)
			return err
		}))
	// [handler]
	var reserved int
	runUntil(ctx, bus, inventory, func() bool {
		if err := sqlDB.QueryRow(`select reserved from stock`).Scan(&reserved); err != nil {
			log.Fatal(err)
		}
		return reserved > 0
	})
	fmt.Println("reserved:", reserved)

	// Output:
	// reserved: 1
}

// In which order does a service stop?
func ExampleBus_Run() {
	leave := enterTempDir()
	defer leave()
	ctx, signalled := context.WithCancel(context.Background()) // signal.NotifyContext in a service
	bus := openMemory(ctx)
	sqlDB, err := sqldb.OpenSQLite("service.db", nil)
	if err != nil {
		log.Fatal(err)
	}
	box := outbox.New(sqldb.SQLite(sqlDB), "/orders", nil)
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1"})
	audit := deed.Subscribe("audit", nil,
		deed.On(Created, func(context.Context, deed.Received[OrderCreated]) error {
			signalled() // somebody asks the service to stop while it is at work
			return nil
		}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	// [stop]
	server := &http.Server{}
	runCtx, stopRun := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- bus.Run(runCtx, box, audit) }()
	context.AfterFunc(ctx, func() {
		if err := server.Shutdown(context.Background()); err != nil { // 1. no new work
			log.Print(err)
		}
		stopRun() // 2. handlers finish, then the relay makes a last pass
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	fmt.Println("drained:", <-running)
	fmt.Println("bus closed:", bus.Close())        // 3.
	fmt.Println("database closed:", sqlDB.Close()) // 4.
	// [stop]

	// Output:
	// drained: <nil>
	// bus closed: <nil>
	// database closed: <nil>
}

func mustExec(db *sql.DB, query string) {
	if _, err := db.Exec(query); err != nil {
		log.Fatal(err)
	}
}
