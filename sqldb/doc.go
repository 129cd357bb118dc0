// Package sqldb is the one place that knows how databases differ: opening SQLite
// the right way, transactions that survive a busy database, migrations, and the
// classes of errors. The SQL engine, outbox and inbox share it.
//
// A [DB] wraps the service's own *sql.DB:
//
//	sqlDB, err := sqldb.OpenSQLite("service.db", nil)
//	db := sqldb.SQLite(sqlDB)
//	err = db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { … })
package sqldb
