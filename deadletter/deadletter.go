// Package deadletter administers the events that groups gave up on: list, show,
// redrive, discard, export, edit, and rehearse what a redrive would come to.
//
// Redriving only marks dead letters. The group's running member then handles them,
// and what waits behind each, in the order of the key.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// ErrNotFound means that there is no dead letter of that id.
var ErrNotFound = driver.ErrNotFound

// pageSize bounds what is in memory at once: a letter holds an event and a stack.
const pageSize = 200

// Letter is an event that a group gave up on.
type Letter struct {
	ID       int64 // by which it is shown, redriven and discarded
	Group    string
	Topic    string
	Event    deed.Event
	Position string // "3-1042", where the event lies in its topic
	StoredAt time.Time
	// Redriven says that it was marked to be tried again and waits for a member.
	Redriven bool
	// Aside says that it holds nothing back: its group skips dead letters.
	Aside    bool
	Reason   string // rejected, exhausted, undecodable, unknown version, crashed
	Error    string // the last one
	Stack    string // of a panic
	Attempts int
	Crashes  int // how often handling it ended its process
	Failed   time.Time
	Run      int    // how often the group had been reset
	Edits    []Edit // what SetData changed, oldest first
}

// Filter selects dead letters. The zero value selects all.
type Filter struct {
	IDs          []int64
	Group, Topic string
	Key, Type    string
	Error        *regexp.Regexp // matches the last error
	Since        time.Time      // failed then or later
}

func (f Filter) driver(states ...driver.LetterState) driver.LetterFilter {
	return driver.LetterFilter{
		IDs: f.IDs, Group: f.Group, Topic: f.Topic, Key: f.Key, Type: f.Type, Since: f.Since, States: states,
	}
}

// List iterates over dead letters, those that are redriven and not yet handled
// among them, by ID. An error ends the iteration. A nil f selects all.
func List(ctx context.Context, b *deed.Bus, f *Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		for l, err := range list(ctx, b, f, driver.Dead, driver.Redriven) {
			if err != nil {
				yield(Letter{}, err)
				return
			}
			if !yield(letterOf(l), nil) {
				return
			}
		}
	}
}

// Show returns one dead letter and how many events of its key wait behind it.
func Show(ctx context.Context, b *deed.Bus, id int64) (l Letter, behind int, err error) {
	for found, err := range list(ctx, b, &Filter{IDs: []int64{id}}, driver.Dead, driver.Redriven) {
		if err != nil {
			return Letter{}, 0, err
		}
		l = letterOf(found)
	}
	if l.ID == 0 {
		return Letter{}, 0, fmt.Errorf("dead letter %d: %w", id, ErrNotFound)
	}
	if l.Event.Key == "" || l.Aside {
		return l, 0, nil
	}
	same := &Filter{Group: l.Group, Topic: l.Topic, Key: l.Event.Key}
	for other, err := range list(ctx, b, same, driver.Behind, driver.Waiting) {
		if err != nil {
			return Letter{}, 0, err
		}
		if other.Run == l.Run {
			behind++
		}
	}
	return l, behind, nil
}

// Discard removes dead letters for good and returns how many; what waits behind
// them goes on. A nil f selects all.
func Discard(ctx context.Context, b *deed.Bus, f *Filter) (int, error) {
	letters, err := lettersOf(b)
	if err != nil {
		return 0, err
	}
	done := 0
	var ids []int64
	flush := func() error {
		n, err := letters.Discard(ctx, ids)
		done += n
		ids = ids[:0]
		return err
	}
	for l, err := range list(ctx, b, f, driver.Dead) {
		if err != nil {
			return done, err
		}
		if ids = append(ids, l.ID); len(ids) == pageSize {
			if err := flush(); err != nil {
				return done, err
			}
		}
	}
	if len(ids) == 0 {
		return done, nil
	}
	return done, flush()
}

// list pages through the engine's records, so that ten million of them need no
// more memory than a page.
func list(ctx context.Context, b *deed.Bus, f *Filter, states ...driver.LetterState) iter.Seq2[driver.Letter, error] {
	if f == nil {
		f = &Filter{}
	}
	return func(yield func(driver.Letter, error) bool) {
		letters, err := lettersOf(b)
		if err != nil {
			yield(driver.Letter{}, err)
			return
		}
		page := f.driver(states...)
		page.Limit = pageSize
		for {
			found, err := letters.List(ctx, page)
			if err != nil {
				yield(driver.Letter{}, err)
				return
			}
			for _, l := range found {
				if f.Error != nil && !f.Error.MatchString(l.Error) {
					continue
				}
				if !yield(l, nil) {
					return
				}
			}
			if len(found) < pageSize {
				return
			}
			page.After = found[len(found)-1].ID
		}
	}
}

func lettersOf(b *deed.Bus) (driver.Letters, error) {
	letters, ok := driver.As[driver.Letters](b.Conn())
	if !ok {
		return nil, errors.New("the engine " + b.Features().Engine + " keeps no dead letters")
	}
	return letters, nil
}

func letterOf(l driver.Letter) Letter {
	var edits []Edit
	for _, e := range l.Edits {
		edits = append(edits, Edit(e))
	}
	return Letter{
		ID: l.ID, Group: l.Group, Topic: l.Topic, Event: deed.EventOf(&l.Message),
		Position: fmt.Sprintf("%d-%s", l.Partition, l.Position), StoredAt: l.Stored,
		Redriven: l.State == driver.Redriven, Aside: l.Aside, Reason: l.Reason, Error: l.Error, Stack: l.Stack,
		Attempts: l.Attempts, Crashes: l.Crashes, Failed: l.Failed, Run: l.Run,
		Edits: edits,
	}
}

// Missing returns those of ids that no dead letter has.
func Missing(ctx context.Context, b *deed.Bus, ids []int64) ([]int64, error) {
	missing := slices.Clone(ids)
	for l, err := range List(ctx, b, &Filter{IDs: ids}) {
		if err != nil {
			return nil, err
		}
		missing = slices.DeleteFunc(missing, func(id int64) bool { return id == l.ID })
	}
	return missing, nil
}
