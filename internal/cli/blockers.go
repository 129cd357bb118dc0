package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/sqldb"
)

// blockersOf returns the transactions that hold something back, nil where the engine
// has no server that tells.
func blockersOf(ctx context.Context, b *deed.Bus) ([]sqldb.Blocker, error) {
	engine, ok := driver.As[*deedsql.Conn](b.Conn())
	if !ok {
		return nil, nil
	}
	all, err := engine.Blockers(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil
	case err == nil && all == nil:
		all = []sqldb.Blocker{}
	}
	return all, err
}

// printBlockers prints nothing when nothing is held back.
func (a *app) printBlockers(all []sqldb.Blocker) error {
	if len(all) == 0 {
		return nil
	}
	t := newTable("HELD BACK", "TOPIC", ">PARTITION", ">BY PID", ">OPEN FOR", ">WAITING", "NAME", "STATE")
	for _, b := range all {
		topic, partition := "-", "-"
		if b.Topic != "" {
			topic = b.Topic
		}
		if b.What == sqldb.BlockedPublish {
			partition = strconv.Itoa(b.Partition)
		}
		t.add(string(b.What), topic, partition, strconv.FormatInt(b.PID, 10), span(b.Age),
			strconv.Itoa(b.Waiting), b.Name, b.State)
	}
	return t.print(a)
}

// blockerDoc is a blocker in JSON.
type blockerDoc struct {
	What      string  `json:"what"`
	Topic     string  `json:"topic,omitempty"`
	Partition *int    `json:"partition,omitempty"`
	PID       int64   `json:"pid"`
	Seconds   float64 `json:"seconds"`
	Waiting   int     `json:"waiting"`
	Name      string  `json:"name"`
	State     string  `json:"state"`
}

func blockerDocs(all []sqldb.Blocker) []blockerDoc {
	docs := make([]blockerDoc, len(all))
	for i, b := range all {
		docs[i] = blockerDoc{
			What: string(b.What), Topic: b.Topic, PID: b.PID, Seconds: b.Age.Seconds(), Waiting: b.Waiting,
			Name: b.Name, State: b.State,
		}
		if b.What == sqldb.BlockedPublish {
			docs[i].Partition = &all[i].Partition
		}
	}
	return docs
}
