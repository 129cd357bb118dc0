package outbox_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

func Example_postgres() {
	sqlDB, err := sql.Open("pgx", "postgres://shop@db.internal/shop") // github.com/jackc/pgx/v5/stdlib
	if err != nil {
		log.Fatal(err)
	}
	defer sqlDB.Close()
	db := sqldb.Postgres(sqlDB)
	box := outbox.New(db, "/orders", nil)
	_ = box // as on any database
}

func Example_mySQL() {
	sqlDB, err := sql.Open("mysql", "shop@tcp(db.internal)/shop") // github.com/go-sql-driver/mysql
	if err != nil {
		log.Fatal(err)
	}
	defer sqlDB.Close()
	db := sqldb.MySQL(sqlDB)
	box := outbox.New(db, "/orders", nil)
	_ = box // as on any database
}

// A service that uses pgx itself publishes in its own transactions. The relay has a
// *sql.DB beside the pool: stdlib.OpenDBFromPool(pool).
func Example_pgx() {
	var conn *pgx.Conn
	var box *outbox.Outbox
	ctx := context.Background()
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "update stock set reserved = reserved + 1"); err != nil {
			return err
		}
		return box.Publish(ctx, sqldb.Pgx(tx), Noted.New(note{"a", 1}))
	})
	if err != nil {
		log.Fatal(err)
	}
}
