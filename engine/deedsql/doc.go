// Package deedsql keeps topics in an SQL database: in an SQLite file, which any number of
// processes of one machine share, or on a server, Postgres, MySQL or MariaDB.
//
// Positions count 1, 2, 3 … per partition. They are given inside the write
// transaction by who has the partition's lock, so nothing that commits later can get
// a smaller one, and a reader's cursor skips nothing. All writes of a process go
// through one goroutine, which puts whatever is queued into one transaction: one
// sync for many callers, and no timer in the way of one.
//
// A delayed event waits in deed_due and gets its position when it is due. Retention
// removes a partition's first events in small steps, and never the last one.
//
// The tables start with deed_ and are meant to be read with plain SQL; deed_event
// is a view of the log for people. Times are nanoseconds since 1970.
package deedsql
