package deedsql

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/sqldb"
)

const (
	// postgresTell is the least time between two notifications of a process: each takes a
	// lock that the whole server has once.
	postgresTell = 5 * time.Millisecond
	// postgresLook is how often commits are looked for beside being told, in case that a
	// notification is lost.
	postgresLook = 500 * time.Millisecond
	// postgresEcho is how long a notification of one's own may take to come back. Behind a
	// pooler that lends connections for a transaction it never does.
	postgresEcho = 2 * time.Second
	// How often commits are looked for where nobody tells of them: while they come, and
	// after a second without any.
	postgresPoll = 15 * time.Millisecond
	postgresRest = 45 * time.Millisecond
)

// committed has others told of a commit.
func (d *postgresDialect) committed() { d.tell.Notify() }

// teller tells others of commits, in transactions of their own: a transaction that
// publishes would take the server's one lock for notifications with it to its end.
func (d *postgresDialect) teller(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for told := d.tell.Wait(); ; {
		select {
		case <-ctx.Done():
			return
		case <-told:
		}
		told = d.tell.Wait()
		d.notify(ctx, d.me) //nolint:errcheck // the others look by themselves a little later
		pause.Reset(postgresTell)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// notify does not wait for the disk: a notification that is lost is looked for.
func (d *postgresDialect) notify(ctx context.Context, text string) error {
	_, err := d.db.ExecContext(ctx, "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)",
		d.channel, text)
	return err
}

// watch waits for notifications, where they come, and looks now and then all the same.
func (d *postgresDialect) watch(ctx context.Context, changed func()) error {
	if d.pooler {
		return d.poll(ctx, changed)
	}
	c, err := pgx.ConnectConfig(ctx, d.config)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has nothing to lose
	if _, err := c.Exec(ctx, "LISTEN "+sqldb.QuoteName(d.channel)); err != nil {
		return err
	}
	heard, err := d.echoes(ctx, c)
	if err != nil || !heard {
		if err == nil {
			err = d.poll(ctx, changed)
		}
		return err
	}
	changed() // what came before it listened
	for last := ""; ctx.Err() == nil; {
		n, err := listen(ctx, c, d.looks)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case n != "" && n != d.me:
			changed()
			continue
		case n != "":
			continue
		}
		now, err := d.look(ctx, func(query string, dest ...any) error { return c.QueryRow(ctx, query).Scan(dest...) })
		if err != nil {
			return err
		}
		if now != last {
			last = now
			changed()
		}
	}
	return nil
}

// echoes reports whether notifications arrive here.
func (d *postgresDialect) echoes(ctx context.Context, c *pgx.Conn) (bool, error) {
	text := d.me + " listens"
	if err := d.notify(ctx, text); err != nil {
		return false, err
	}
	for deadline := time.Now().Add(postgresEcho); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		n, err := listen(ctx, c, left)
		if err != nil || n == text {
			return n == text, err
		}
	}
}

// listen returns the text of the next notification, "" when there is none for a while.
func listen(ctx context.Context, c *pgx.Conn, wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	n, err := c.WaitForNotification(ctx)
	switch {
	case err == nil:
		return n.Payload, nil
	case errors.Is(err, context.DeadlineExceeded) && !c.IsClosed():
		return "", nil
	}
	return "", err
}

// look returns what changes with every commit, of all that the server does, and asks for
// the time on the way. It is a snapshot, so that who reads after it sees the commit.
func (d *postgresDialect) look(_ context.Context, row func(query string, dest ...any) error) (string, error) {
	var now string
	var nanos int64
	err := row(selectNow+", pg_current_snapshot()::text", &nanos, &now)
	if err == nil {
		d.told(nanos)
	}
	return now, err
}

// poll looks for commits, where nobody tells of them.
func (d *postgresDialect) poll(ctx context.Context, changed func()) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	active, last := time.Now(), ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now, err := d.look(ctx, func(query string, dest ...any) error {
			return d.db.QueryRowContext(ctx, query).Scan(dest...)
		})
		if err != nil {
			return err
		}
		if now != last {
			last, active = now, time.Now()
			changed()
		}
		if time.Since(active) < time.Second {
			timer.Reset(postgresPoll)
		} else {
			timer.Reset(postgresRest)
		}
	}
}
