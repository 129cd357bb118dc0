package main

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/sqldb"
)

// customers is the first consumer: the database that the rest of the firm knows
// customers from.
type customers struct {
	db *sqldb.DB
}

const customersSchema = `CREATE TABLE IF NOT EXISTS customers (
	email TEXT PRIMARY KEY, name TEXT NOT NULL, points INTEGER NOT NULL)`

// [customers]

func (c *customers) subscription() *deed.Subscription {
	return deed.Subscribe("customers", nil, inbox.On(c.db, signedUp, c.add))
}

// add gives every newcomer ten points. Adding is the kind of effect that must not
// happen twice, so the handler gets its transaction from the inbox, which remembers
// the event in that same transaction: a redelivered event changes nothing.
func (c *customers) add(ctx context.Context, tx *sql.Tx, e deed.Received[SignedUp]) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO customers (email, name, points) VALUES (?, ?, 10)
		ON CONFLICT (email) DO UPDATE SET points = points + 10`, e.Data.Email, e.Data.Name)
	return err
}

// [customers]

// mailingList is the second consumer. What it does may be done twice without harm.
type mailingList struct {
	mu        sync.Mutex
	addresses map[string]bool
}

// [mailinglist]

func (l *mailingList) subscription() *deed.Subscription {
	return deed.Subscribe("mailing-list", nil, deed.On(signedUp, l.add))
}

func (l *mailingList) add(_ context.Context, e deed.Received[SignedUp]) error {
	if !e.Data.Newsletter {
		return nil // seen, and none of our business
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addresses[e.Data.Email] = true
	return nil
}

// [mailinglist]

// welcome is the third consumer. It calls a mail service, which fails at times.
type welcome struct {
	mails *mailService
}

// [welcome]

func (w *welcome) subscription() *deed.Subscription {
	return deed.Subscribe("welcome", nil, deed.On(signedUp, w.send))
}

// send returns the error of the call: the event will be tried again, later ones of
// the same customer wait, those of others do not. The key is the same on every try,
// so that the mail service can tell a repetition from a second mail.
func (w *welcome) send(ctx context.Context, e deed.Received[SignedUp]) error {
	return w.mails.send(deed.IdempotencyKey(ctx, "welcome"), e.Data.Email, "Welcome, "+e.Data.Name+"!")
}

// [welcome]

// mailService stands in for somebody else's. It loses an answer now and then: the
// mail has gone out, and the caller does not know.
type mailService struct {
	mu    sync.Mutex
	calls int
	sent  map[string]string // what was sent, by key
}

const loseEvery = 4

func (m *mailService) send(key, to, text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	m.sent[key] = to + ": " + text // sent once, however often it is called with the key
	if m.calls%loseEvery == 0 {
		return errors.New("the mail service gave no answer")
	}
	return nil
}

// statistics is the fourth consumer: a view that is kept in memory and could be
// built again from the topic at any time.
type statistics struct {
	mu  sync.Mutex
	via map[string]int
}

// [statistics]

func (s *statistics) subscription() *deed.Subscription {
	return deed.Subscribe("statistics", nil, deed.On(signedUp, s.count))
}

func (s *statistics) count(_ context.Context, e deed.Received[SignedUp]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.via[e.Data.Via]++
	return nil
}

// [statistics]
