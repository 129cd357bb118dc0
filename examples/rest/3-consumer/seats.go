package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/sqldb"
)

const seatsSchema = `CREATE TABLE IF NOT EXISTS seats (show TEXT PRIMARY KEY, taken INTEGER NOT NULL)`

// seats is a view: how many seats of each show are taken. It shares nothing with
// the bookings but their events, and could move to a process of its own.
type seats struct {
	db *sqldb.DB
}

func openSeats(ctx context.Context, file string) (*seats, error) {
	db, err := sqldb.OpenSQLite(file, nil)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, seatsSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &seats{sqldb.SQLite(db)}, nil
}

func (s *seats) close() error { return s.db.SQL().Close() }

// [consumer]

// subscription declares the group "seats" and what it does about each booking.
func (s *seats) subscription() *deed.Subscription {
	return deed.Subscribe("seats", nil, inbox.On(s.db, bookingMade, s.count))
}

// count adds to the view. The inbox remembers the event in the same transaction,
// so that an event which is delivered again is not counted again.
func (s *seats) count(ctx context.Context, tx *sql.Tx, e deed.Received[BookingMade]) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO seats (show, taken) VALUES (?1, ?2)
		ON CONFLICT (show) DO UPDATE SET taken = taken + ?2`, e.Data.Show, e.Data.Seats)
	return err
}

// [consumer]

// ServeHTTP tells how many seats of a show are taken. A view lags behind a little:
// a booking shows up here a few milliseconds after it was made.
func (s *seats) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	show, taken := r.PathValue("show"), 0
	err := s.db.SQL().QueryRowContext(r.Context(), `SELECT taken FROM seats WHERE show = ?`, show).Scan(&taken)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"show": show, "seats_taken": taken})
}
