package deedsql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// edit is a driver.Edit as it is stored.
type edit struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Why  string    `json:"why"`
	Data []byte    `json:"data"` // before the edit, in base64
}

// Edit implements [driver.Letters].
func (c *Conn) Edit(ctx context.Context, id int64, e driver.Edit) error {
	err := c.write(ctx, 0, func(t *tx) error { return t.edit(id, e) })
	return c.fail(fmt.Sprintf("edit dead letter %d", id), err)
}

func (t *tx) edit(id int64, e driver.Edit) error {
	if most := t.dialect.limits().data; len(e.Data) > most {
		return fmt.Errorf("%w: %d bytes of data (at most %d)", driver.ErrRefused, len(e.Data), most)
	}
	var state driver.LetterState
	var before []byte
	var trail string
	err := t.row("SELECT state, data, edits FROM deed_letter WHERE letter = ?"+forUpdate,
		[]any{id}, &state, &before, &trail)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return driver.ErrNotFound
	case err != nil:
		return err
	case state != driver.Dead:
		return fmt.Errorf("%w: it is %s, and only what is dead can be edited", driver.ErrRefused, state)
	}
	var edits []edit
	if err := json.Unmarshal([]byte(trail), &edits); err != nil {
		return fmt.Errorf("its edits are damaged: %w", err)
	}
	text, err := json.Marshal(append(edits, edit{At: t.time.UTC(), By: e.By, Why: e.Why, Data: before}))
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE deed_letter SET data = ?, edits = ? WHERE letter = ?", e.Data, string(text), id)
	return err
}

// parseEdits reads what edit wrote.
func parseEdits(s string) ([]driver.Edit, error) {
	if s == "[]" {
		return nil, nil // nearly always
	}
	var stored []edit
	if err := json.Unmarshal([]byte(s), &stored); err != nil {
		return nil, fmt.Errorf("the edits of a dead letter are damaged: %w", err)
	}
	edits := make([]driver.Edit, len(stored))
	for i, e := range stored {
		edits[i] = driver.Edit(e)
	}
	return edits, nil
}
