package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/data"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// Quakes of three sizes, each with a handler of its own, and what handlers announce.
var (
	sizes  = deed.NewTopic("quakes-by-size", nil)
	slight = deed.NewType(sizes, "quakes.slight", 1, network)
	felt   = deed.NewType(sizes, "quakes.felt", 1, network)
	strong = deed.NewType(sizes, "quakes.strong", 1, network)
	alerts = deed.NewTopic("alerts", nil)
	warned = deed.NewType(alerts, "alerts.warned", 1, network)
)

func network(q Quake) string { return q.Properties.Network }

// sizeOf sorts a quake into one of the three types.
func sizeOf(q Quake) *deed.Type[Quake] {
	switch {
	case q.Properties.Mag < 1:
		return slight
	case q.Properties.Mag < 2:
		return felt
	}
	return strong
}

// sighting is one call of a handler.
type sighting struct {
	group, id     string
	replay, quiet bool
	run           int
}

// station is a bus, a service's database, and what the handlers saw.
type station struct {
	t         *testing.T
	bus       *deed.Bus
	db        *sqldb.DB
	box       *outbox.Outbox
	published []deed.Cursor // after each call

	mu   sync.Mutex
	seen map[sighting]int
}

func newStation(t *testing.T) *station {
	t.Helper()
	dir := t.TempDir()
	bus, err := engine.Open(t.Context(), "sqlite:"+filepath.Join(dir, "bus.db"),
		&deed.Options{Source: "/station", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "service.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("create table warned (n integer primary key, id text not null)"); err != nil {
		t.Fatal(err)
	}
	service := sqldb.SQLite(db)
	return &station{t: t, bus: bus, db: service, box: outbox.New(service, "/station", nil), seen: map[sighting]int{}}
}

func (s *station) publish(feed []Quake) {
	s.t.Helper()
	drafts := make([]deed.Draft, len(feed))
	for i, q := range feed {
		drafts[i] = sizeOf(q).New(q)
		drafts[i].ID = q.ID
	}
	r, err := s.bus.PublishReceipt(s.t.Context(), drafts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.published = append(s.published, r.Cursor(sizes.Name()))
}

func (s *station) see(e deed.Received[Quake]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[sighting{e.Group, e.ID, e.Replay, e.Quiet, e.Run}]++
}

// group has a replay-safe view of slight quakes that announces them by the bus and by
// the outbox, an inbox handler that warns of felt ones, and a plain one for the rest.
func (s *station) group(name string, from deed.From) *deed.Subscription {
	return deed.Subscribe(name, &deed.SubscribeOptions{From: from},
		deed.ReplaySafe(deed.On(slight, func(ctx context.Context, e deed.Received[Quake]) error {
			s.see(e)
			if err := s.bus.Publish(ctx, warned.New(e.Data)); err != nil {
				return err
			}
			return s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				return s.box.Publish(ctx, tx, warned.New(e.Data))
			})
		})),
		inbox.On(s.db, felt, func(ctx context.Context, tx *sql.Tx, e deed.Received[Quake]) error {
			s.see(e)
			if _, err := tx.ExecContext(ctx, "insert into warned (id) values (?)", e.ID); err != nil {
				return err
			}
			return s.box.Publish(ctx, tx, warned.New(e.Data))
		}),
		deed.On(strong, func(ctx context.Context, e deed.Received[Quake]) error {
			s.see(e)
			return nil
		}))
}

// catchUp runs a group until it has handled everything and the outbox is empty, and
// returns what its handlers saw meanwhile.
func (s *station) catchUp(name string, from deed.From) map[sighting]int {
	s.t.Helper()
	clear(s.seen)
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.bus.Run(ctx, s.group(name, from), s.box) }()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, c := range s.published { // each names the partitions that it touched
		if err := s.bus.WaitFor(limited, name, sizes.Name(), c); err != nil {
			s.t.Error(err)
		}
	}
	s.sent(limited)
	stop()
	if err := <-ended; err != nil {
		s.t.Error(err)
	}
	return maps.Clone(s.seen)
}

// sent waits until the relay has moved all that the outbox holds.
func (s *station) sent(ctx context.Context) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := s.box.Pending(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		<-tick.C
	}
}

// alerted counts the alerts about each quake, by the bus and by the outbox.
func (s *station) alerted() map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for e, err := range s.bus.Read(s.t.Context(), alerts.Name(), nil) {
		if err != nil {
			s.t.Fatal(err)
		}
		q, err := warned.Decode(e.Event)
		if err != nil {
			s.t.Fatal(err)
		}
		n[q.ID]++
	}
	return n
}

// effects counts the rows that the inbox handler wrote about each quake.
func (s *station) effects() map[string]int {
	s.t.Helper()
	rows, err := s.db.SQL().Query("select id from warned")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	n := map[string]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			s.t.Fatal(err)
		}
		n[id]++
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// reset takes group g back to a time.
func (s *station) reset(to time.Time, o deed.ResetOptions) {
	s.t.Helper()
	if err := s.bus.Reset(s.t.Context(), "g", sizes.Name(), deed.FromTime(to), o); err != nil {
		s.t.Fatal(err)
	}
}

// expected collects what handlers are to have done.
type expected struct {
	seen            map[sighting]int
	alerts, effects map[string]int
}

// visit expects one call for each quake whose handler is to run, and what it does.
func (x *expected) visit(feed []Quake, s sighting) {
	for _, q := range feed {
		size := sizeOf(q)
		if s.quiet && size != slight {
			continue // not replay-safe
		}
		s.id = q.ID
		x.seen[s]++
		switch {
		case s.quiet:
		case size == slight:
			x.alerts[q.ID] += 2
		case size == felt:
			x.alerts[q.ID]++
			x.effects[q.ID]++
		}
	}
}

func (x *expected) check(t *testing.T, phase string, s *station, seen map[sighting]int) {
	t.Helper()
	same(t, phase+": calls", seen, x.seen)
	same(t, phase+": alerts", s.alerted(), x.alerts)
	same(t, phase+": inbox effects", s.effects(), x.effects)
	clear(x.seen)
}

// same compares two counts and shows some of what differs.
func same[K comparable](t *testing.T, what string, got, want map[K]int) {
	t.Helper()
	var wrong []string
	for k, n := range want {
		if got[k] != n {
			wrong = append(wrong, fmt.Sprintf("%+v: %d, want %d", k, got[k], n))
		}
	}
	for k, n := range got {
		if _, ok := want[k]; !ok {
			wrong = append(wrong, fmt.Sprintf("%+v: %d, want none", k, n))
		}
	}
	if slices.Sort(wrong); len(wrong) > 0 {
		t.Errorf("%s: %d differ, as %q", what, len(wrong), wrong[:min(3, len(wrong))])
	}
}

// A group that went through a week of earthquakes is reset to the middle of it, first
// quietly and then with effects. A last day comes in after the first reset.
func TestReplayOfTheEarthquakes(t *testing.T) {
	t.Parallel()
	feed, err := readFeed(data.Earthquakes())
	if err != nil {
		t.Fatal(err)
	}
	first, second, fresh := feed[:800], feed[800:1500], feed[1500:]
	x := &expected{seen: map[sighting]int{}, alerts: map[string]int{}, effects: map[string]int{}}
	s := newStation(t)
	s.publish(first)
	middle := time.Now()
	s.publish(second)
	seen := s.catchUp("g", deed.From{})
	x.visit(feed[:1500], sighting{group: "g"})
	x.check(t, "live", s, seen)

	s.reset(middle, deed.ResetOptions{Quiet: true})
	s.publish(fresh)
	seen = s.catchUp("g", deed.From{})
	x.visit(second, sighting{group: "g", replay: true, quiet: true, run: 1})
	x.visit(fresh, sighting{group: "g", run: 1})
	x.check(t, "quiet replay", s, seen)

	s.reset(middle, deed.ResetOptions{Effects: true})
	seen = s.catchUp("g", deed.From{})
	x.visit(feed[800:], sighting{group: "g", replay: true, run: 2})
	x.check(t, "replay with effects", s, seen)

	seen = s.catchUp("late", deed.FromTime(middle))
	x.visit(feed[800:], sighting{group: "late"})
	x.check(t, "a group that starts in the middle", s, seen)
}
