package deednats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
)

// A doc is one JSON document under a subject of the stream that all topics share. It is
// replaced if it is still the one that was read.

// readDoc returns a doc with its sequence number, or errNone.
func readDoc[D any](ctx context.Context, c *Conn, subject string) (d D, seq uint64, err error) {
	m, err := c.last(ctx, c.names.meta(), subject)
	if err != nil {
		return d, 0, err
	}
	if err := json.Unmarshal(m.data, &d); err != nil {
		return d, 0, fmt.Errorf("%w: the document %s cannot be read: %w", driver.ErrRefused, subject, err)
	}
	return d, m.seq, nil
}

// changeDoc changes a doc, or makes it. Change may be called several times, each with
// what is there by then.
func changeDoc[D any](ctx context.Context, c *Conn, subject string, change func(*D) error) (D, error) {
	for turn := 0; ; turn++ {
		d, seq, err := readDoc[D](ctx, c, subject)
		if err != nil && !errors.Is(err, errNone) {
			return d, err
		}
		if err := change(&d); err != nil {
			return d, err
		}
		data, err := json.Marshal(d)
		if err != nil {
			return d, err
		}
		if _, err = c.store(ctx, &nats.Msg{Subject: subject, Data: data}, seq); !errors.Is(err, errMoved) {
			return d, err
		}
		if err := pause(ctx, turn); err != nil {
			return d, err
		}
	}
}

// pause lets others go first who change the same thing.
func pause(ctx context.Context, turn int) error {
	if turn < 3 {
		return ctx.Err()
	}
	timer := time.NewTimer(rand.N(time.Duration(min(turn, 20)) * time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
