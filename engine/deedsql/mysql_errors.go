package deedsql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/deedgo/deed/driver"
)

// The errors of MySQL and MariaDB that the engine tells apart.
const (
	errDiskFull       = 1021
	errWriteFile      = 1026
	errEngine         = 1030 // "Got error 28 … from storage engine"
	errDenied         = 1044
	errPassword       = 1045
	errNoDatabase     = 1049
	errTooManyConns   = 1040
	errShutdown       = 1053
	errQueryKilled    = 1317
	errKilled         = 1927
	errIdle           = 4031
	errTableFull      = 1114
	errTableDenied    = 1142
	errNoTable        = 1146
	errPacket         = 1153
	errLockWait       = 1205
	errDeadlock       = 1213
	errSpecificAccess = 1227
	errOption         = 1290 // "running with the --read-only option"
	errTooLong        = 1406
	errReadOnlyTx     = 1792
	errReadOnlyMode   = 1836
	errChanged        = 1020 // "Record has changed since last read"
	errReadOnlyDB     = 3989
)

// explain implements [dialect].
func (d *mysqlDialect) explain(err error) (scope, error) {
	if err == nil || errors.Is(err, driver.ErrAway) {
		return allJobs, err
	}
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return d.explainConn(err)
	}
	with := func(sentinel error, way string) error {
		return fmt.Errorf("%w: %s: %s: %w", sentinel, d.where, way, err)
	}
	switch e.Number {
	case errDeadlock, errChanged:
		return noJob, fmt.Errorf("%s: others were in the way %d times: %w", d.where, retries, err)
	case errLockWait:
		return noJob, fmt.Errorf("%s: another transaction holds a lock for more than %ds "+
			"(SHOW ENGINE INNODB STATUS names it): %w", d.where, mysqlLockFor, err)
	case errDiskFull, errTableFull, errWriteFile:
		return allJobs, with(driver.ErrNotStored, "the disk is full (free some space, then go on)")
	case errOption, errReadOnlyTx, errReadOnlyMode, errReadOnlyDB:
		return allJobs, with(driver.ErrNotStored, "the server is read-only (name the one that may be written)")
	case errPacket:
		return oneJob, with(driver.ErrRefused, "too large (raise max_allowed_packet)")
	case errTooLong:
		return oneJob, with(driver.ErrRefused, "a name, key or id is too long")
	case errPassword:
		return allJobs, with(driver.ErrRefused, "the server refuses user or password")
	case errNoDatabase:
		return allJobs, with(driver.ErrNotFound, "there is no such database (CREATE DATABASE it first)")
	case errDenied, errTableDenied, errSpecificAccess:
		return allJobs, with(driver.ErrRefused, "the user lacks a right (the guide has those that deed needs)")
	case errNoTable:
		return allJobs, with(driver.ErrNotFound, "the tables are not there (make them, or let deed make them)")
	case errTooManyConns:
		return allJobs, with(driver.ErrAway, "the server has no connection left (raise max_connections)")
	case errShutdown, errKilled, errQueryKilled, errIdle:
		return allJobs, with(driver.ErrAway, "the server has ended the connection")
	case errEngine:
		return allJobs, with(driver.ErrNotStored, "the server's storage failed")
	}
	return oneJob, fmt.Errorf("%s: %w", d.where, err)
}

// mysqlDenied reports whether a user lacks a right.
func mysqlDenied(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && (e.Number == errDenied || e.Number == errTableDenied || e.Number == errSpecificAccess)
}

// explainConn explains what is no answer of the server.
func (d *mysqlDialect) explainConn(err error) (scope, error) {
	var n net.Error
	switch {
	case errors.Is(err, mysql.ErrPktTooLarge):
		return oneJob, fmt.Errorf("%w: %s: too large (raise max_allowed_packet): %w", driver.ErrRefused, d.where, err)
	case errors.Is(err, sqldriver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &n),
		errors.Is(err, context.DeadlineExceeded): // of a call to the server
		return allJobs, fmt.Errorf("%w: %s: %w", driver.ErrAway, d.where, err)
	}
	return oneJob, err
}
