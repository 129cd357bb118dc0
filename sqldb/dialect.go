package sqldb

// Dialect names a kind of SQL and knows what differs. There is one so far.
type Dialect string

// DialectSQLite is SQLite's SQL.
const DialectSQLite Dialect = "sqlite"

// Rebind turns a query written with "?" placeholders into the dialect's.
func (d Dialect) Rebind(query string) string { return query }
