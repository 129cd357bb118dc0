package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

const schema = `CREATE TABLE IF NOT EXISTS bookings (
	id INTEGER PRIMARY KEY, show TEXT NOT NULL, name TEXT NOT NULL, seats INTEGER NOT NULL)`

// Booking is a row of the table and the JSON of the API.
type Booking struct {
	ID    int64  `json:"id"`
	Show  string `json:"show"`
	Name  string `json:"name"`
	Seats int    `json:"seats"`
}

type bookings struct {
	db  *sqldb.DB
	box *outbox.Outbox

	seats *seats // answers questions about shows
}

func (b *bookings) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bookings", b.post)
	mux.HandleFunc("GET /bookings/{id}", b.get)
	mux.Handle("GET /shows/{show}", b.seats)
	return mux
}

// [add]

// add stores a booking and announces it: both, or neither.
func (b *bookings) add(ctx context.Context, booking Booking) (Booking, error) {
	err := b.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `INSERT INTO bookings (show, name, seats) VALUES (?, ?, ?) RETURNING id`,
			booking.Show, booking.Name, booking.Seats).Scan(&booking.ID)
		if err != nil {
			return err
		}
		return b.box.Publish(ctx, tx, bookingMade.New(BookingMade{
			BookingID: booking.ID, Show: booking.Show, Seats: booking.Seats,
		}))
	})
	return booking, err
}

// [add]

func (b *bookings) post(w http.ResponseWriter, r *http.Request) {
	var booking Booking
	err := json.NewDecoder(r.Body).Decode(&booking)
	if err != nil || booking.Show == "" || booking.Name == "" || booking.Seats < 1 {
		http.Error(w, "show, name and seats are required", http.StatusBadRequest)
		return
	}
	booking, err = b.add(r.Context(), booking)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusCreated, booking)
}

func (b *bookings) get(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "the id is a number", http.StatusBadRequest)
		return
	}
	booking := Booking{ID: id}
	err = b.db.SQL().QueryRowContext(r.Context(), `SELECT show, name, seats FROM bookings WHERE id = ?`, id).
		Scan(&booking.Show, &booking.Name, &booking.Seats)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		http.Error(w, "no such booking", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		writeJSON(w, http.StatusOK, booking)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away is not our failure
}
