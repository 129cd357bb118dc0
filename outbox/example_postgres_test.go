package outbox_test

import (
	"database/sql"
	"log"

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
