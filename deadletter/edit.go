package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// Edit is a change that was made to a letter's data.
type Edit struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Why  string    `json:"why"`
	Data []byte    `json:"data"` // what it was before
}

// SetData replaces the data of a dead letter, which a redrive then gives to the
// group; the event in the topic stays as it was published. Who, why, and the data
// before stay in Letter.Edits.
func SetData(ctx context.Context, b *deed.Bus, id int64, data []byte, by, why string) error {
	if err := setData(ctx, b, id, data, by, why); err != nil {
		return fmt.Errorf("edit dead letter %d: %w", id, err)
	}
	return nil
}

func setData(ctx context.Context, b *deed.Bus, id int64, data []byte, by, why string) error {
	letters, err := lettersOf(b)
	if err != nil {
		return err
	}
	if strings.TrimSpace(by) == "" || strings.TrimSpace(why) == "" {
		return errors.New("who edits it, or why, is missing (both are kept with the letter)")
	}
	l, _, err := Show(ctx, b, id)
	if err != nil {
		return err
	}
	if l.Redriven {
		return errors.New("it is redriven, and a member may be handling it (wait for what becomes of it)")
	}
	if limit := b.Options().MaxEventBytes; len(data) > limit {
		return fmt.Errorf("%d bytes of data (at most %d)", len(data), limit)
	}
	if isJSON(l.Event) && !json.Valid(data) {
		return fmt.Errorf("the event's data is %s, and the new data is no JSON", l.Event.ContentType)
	}
	return letters.Edit(ctx, id, driver.Edit{By: by, Why: why, Data: data})
}

func isJSON(e deed.Event) bool {
	kind, _, _ := strings.Cut(e.ContentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// Rehearse runs the subscription's present handler for a dead letter and undoes what
// it did: nil means that a redrive would succeed now. Only handlers of package inbox
// can be rehearsed.
func Rehearse(ctx context.Context, b *deed.Bus, s *deed.Subscription, id int64) error {
	l, _, err := Show(ctx, b, id)
	if err != nil {
		return err
	}
	if l.Group != s.Group() {
		return fmt.Errorf("dead letter %d is of group %s, the subscription of %s", id, l.Group, s.Group())
	}
	return s.Rehearse(ctx, l.Topic, l.Event)
}
