package deedtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	// Settle looks again after pauseMin, then ever less often down to pauseMax: most
	// tests are at rest soon, and looking costs the engine something.
	pauseMin = time.Millisecond
	pauseMax = 25 * time.Millisecond
)

// Settle returns when everything that was caused has been done: all groups with
// members have handled every event of their topics, also those that handlers and
// outboxes have published meanwhile, nothing waits for another attempt, and the
// outboxes given to Start have sent everything. Dead letters, what waits behind them,
// and delayed events whose time has not come are at rest. After Options.Timeout Settle
// fails the test and says what it still waits for.
//
// It speaks of what was published before it was called: the test must not publish
// beside it. In a bubble of testing/synctest the timeout is virtual time: set it
// longer than the retries that the test is about.
func (e *Env) Settle() {
	e.t.Helper()
	ctx := e.t.Context()
	deadline := time.Now().Add(e.timeout)
	var before *standing
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		now, err := e.observe(ctx)
		if err != nil {
			e.t.Fatalf("deedtest: Settle: %v", err)
		}
		if now.rest() && before != nil && before.rest() && slices.Equal(now.ends, before.ends) {
			return
		}
		e.mu.Lock()
		ended := e.ended
		e.mu.Unlock()
		if ended != nil {
			e.t.Fatalf("deedtest: Settle: nothing will, since Run failed: %v", ended)
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("deedtest: not settled after %v (Options.Timeout):%s", e.timeout, e.describe(ctx, now))
		}
		if now.rest() && before == nil {
			before = now // and look again at once, since it is most likely true
			continue
		}
		before = nil
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			e.t.Fatalf("deedtest: Settle: %v", context.Cause(ctx))
		}
	}
}

// standing is what was seen of everything that may be pending.
type standing struct {
	parked   []driver.Letter       // to be tried again, or behind one that is
	outboxes []int                 // events not sent, for each outbox
	due      []string              // topics with delayed events whose time has come
	lags     []driver.PartitionLag // partitions that are behind
	paused   map[reading]bool
	ends     []string // last position of every partition of every group
}

// rest reports whether nothing was pending. Once is not enough: while one thing is
// looked at another may move. Looking in this order is enough when it is done twice
// and no partition has grown in between. For everything published by the first look
// at the lags was handled then, but for what is parked or in an outbox; whatever of
// that was done since has either published something, and a partition has grown, or
// written to an outbox. A parked event is done before the second look at the letters,
// so its row is there, or on the bus, at the second look at the outboxes; and a row
// that had left its outbox by then is on the bus at the second look at the lags. So is
// a delayed event that was due.
func (s *standing) rest() bool {
	unsent := slices.ContainsFunc(s.outboxes, func(n int) bool { return n > 0 })
	return len(s.parked) == 0 && !unsent && len(s.due) == 0 && len(s.lags) == 0
}

// observe looks at the letters, the outboxes, the delayed events and the lags, in
// this order; see rest.
func (e *Env) observe(ctx context.Context) (*standing, error) {
	infos, err := e.groups.Groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	s := &standing{paused: make(map[reading]bool)}
	runs := make(map[reading]bool) // with members, of this bus or another
	for _, g := range infos {
		of := reading{g.Group, g.Topic}
		runs[of] = len(g.Members) > 0 || e.conn.runs(of)
		s.paused[of] = g.Paused
	}
	if s.parked, err = e.parked(ctx, runs); err != nil {
		return nil, fmt.Errorf("list parked events: %w", err)
	}
	e.mu.Lock()
	outboxes := slices.Clone(e.outboxes)
	e.mu.Unlock()
	for _, o := range outboxes {
		count := o.Pending
		if d, ok := o.(dueOutbox); ok {
			count = d.Due
		}
		n, err := count(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask an outbox: %w", err)
		}
		s.outboxes = append(s.outboxes, n)
	}
	if s.due, err = e.due(ctx); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	lags, err := e.groups.Lag(ctx, "", "")
	if err != nil {
		return nil, fmt.Errorf("ask for the lag: %w", err)
	}
	for _, l := range lags {
		if !runs[reading{l.Group, l.Topic}] {
			continue
		}
		s.ends = append(s.ends, l.End)
		if l.Events > 0 {
			s.lags = append(s.lags, l)
		}
	}
	return s, nil
}

// due returns topics with events that are due and have no position yet.
func (e *Env) due(ctx context.Context) (names []string, err error) {
	topics, ok := driver.As[driver.Topics](e.Bus.Conn())
	if !ok {
		return nil, nil
	}
	infos, err := topics.Topics(ctx)
	for _, t := range infos {
		if t.Scheduled > 0 && !t.NextDue.After(time.Now()) {
			names = append(names, t.Name)
		}
	}
	return names, err
}

// parked returns what groups with members have parked and will try again.
func (e *Env) parked(ctx context.Context, runs map[reading]bool) ([]driver.Letter, error) {
	type chain struct {
		group, topic string
		partition    int
		key          string
	}
	of := func(l *driver.Letter) chain { return chain{l.Group, l.Topic, l.Partition, l.Key} }
	var all []driver.Letter
	dead := make(map[chain]bool) // keys that a dead letter holds back
	for after := int64(0); ; {
		page, err := e.letters.List(ctx, driver.LetterFilter{After: after})
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			l := &page[i]
			if l.State == driver.Dead && !l.Aside {
				dead[of(l)] = true
			}
			if l.State != driver.Dead && runs[reading{l.Group, l.Topic}] {
				all = append(all, *l)
			}
		}
		after = page[len(page)-1].ID
	}
	return slices.DeleteFunc(all, func(l driver.Letter) bool {
		return l.State == driver.Behind && dead[of(&l)]
	}), nil
}

// describe says what is pending, a line each.
func (e *Env) describe(ctx context.Context, s *standing) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\n  "+format, args...) }
	for _, l := range s.lags {
		says := ""
		switch {
		case s.paused[reading{l.Group, l.Topic}]:
			says = "; the group is paused"
		case l.Status != "":
			says = "; " + l.Status
		}
		line("group %s, topic %s, partition %d: %d events behind%s%s", l.Group, l.Topic, l.Partition, l.Events,
			e.first(ctx, l), says)
	}
	behind := make(map[string]int)
	for _, l := range s.parked {
		if l.State == driver.Behind {
			behind[l.Group+"/"+l.Topic+"/"+l.Key]++
			continue
		}
		says := fmt.Sprintf("is to be tried again at %s after %d attempts",
			l.Due.Format("15:04:05"), l.Attempts)
		if l.State == driver.Redriven {
			says = "was redriven"
		}
		line("group %s, topic %s, partition %d, key %q: %s %s %s, with the error: %s", l.Group, l.Topic, l.Partition, l.Key,
			l.Type, l.Message.ID, says, l.Error)
	}
	for at, n := range behind {
		line("%s: %d events are behind a failed one of their key", at, n)
	}
	for i, n := range s.outboxes {
		if n > 0 {
			line("outbox %d of those started: %d events not sent", i+1, n)
		}
	}
	for _, topic := range s.due {
		line("topic %s: delayed events that are due", topic)
	}
	if b.Len() == 0 {
		return "\n  nothing at this moment, but it was never at rest: does something publish all the time?"
	}
	return b.String()
}

// first names the first event that a group has not handled, and what is known of it.
func (e *Env) first(ctx context.Context, l driver.PartitionLag) string {
	browser, ok := driver.As[driver.Browser](e.Bus.Conn())
	if !ok {
		return ""
	}
	page, err := browser.Browse(ctx, driver.Page{Topic: l.Topic, Partition: l.Partition, After: l.Position, Limit: 1})
	if err != nil || len(page) == 0 {
		return ""
	}
	d := &page[0]
	says := fmt.Sprintf(", first %s %s with key %q", d.Type, d.ID, d.Key)
	position := fmt.Sprintf("%d-%s", d.Partition, d.Position)
	if last := e.tries.says(place{l.Group, l.Topic, position}); last != "" {
		says += ": " + last
	}
	return says
}
