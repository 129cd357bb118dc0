package main

import (
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// register is the first producer: the page on which people register. It has a
// database of its own, and announces what it stored there through the outbox.
type register struct {
	db  *sqldb.DB
	box *outbox.Outbox
}

const registerSchema = `CREATE TABLE IF NOT EXISTS accounts (email TEXT PRIMARY KEY, name TEXT NOT NULL)`

var errTaken = errors.New("this address is registered already")

// [register]

// add stores an account and announces it in one transaction: either both happened
// or neither did, also when the machine loses power in between.
func (r *register) add(ctx context.Context, s SignedUp) error {
	return r.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO accounts (email, name) VALUES (?, ?)`, s.Email, s.Name)
		if sqldb.IsUnique(err) {
			return errTaken
		}
		if err != nil {
			return err
		}
		return r.box.Publish(ctx, tx, signedUp.New(s))
	})
}

// [register]

// ServeHTTP takes {"email": …, "name": …, "newsletter": …}.
func (r *register) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s := SignedUp{Via: "page"}
	if err := json.NewDecoder(req.Body).Decode(&s); err != nil || s.Email == "" {
		http.Error(w, "an email, please", http.StatusBadRequest)
		return
	}
	switch err := r.add(req.Context(), s); {
	case errors.Is(err, errTaken):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

// [import]

// importCSV is the second producer: a script that reads a list and has no database.
// The line's address is the event's id, so that importing a list twice, or again
// after a failure half-way, stores each event once.
func importCSV(ctx context.Context, bus *deed.Bus, list io.Reader) (deed.Receipt, error) {
	records, err := csv.NewReader(list).ReadAll()
	if err != nil {
		return deed.Receipt{}, err
	}
	var drafts []deed.Draft
	for i, record := range records {
		if len(record) != 3 {
			return deed.Receipt{}, fmt.Errorf("line %d has %d fields (want email, name, newsletter)", i+1, len(record))
		}
		d := signedUp.New(SignedUp{Email: record[0], Name: record[1], Newsletter: record[2] == "yes", Via: "import"})
		d.ID = record[0]
		d.Source = "/import"
		drafts = append(drafts, d)
	}
	return bus.PublishReceipt(ctx, drafts...)
}

// [import]
