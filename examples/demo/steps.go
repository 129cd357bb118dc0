package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
)

// publish stores the feed, twice.
func (d *demo) publish(ctx context.Context) error {
	where := "in one SQLite file"
	if name := d.bus.Features().Engine; name != "sqlite" {
		where = "on " + name
	}
	step(d.out, 1, "%s real earthquakes become events, %s", comma(len(d.feed)), where)
	drafts := make([]deed.Draft, len(d.feed))
	for i, q := range d.feed {
		drafts[i] = draft(q)
	}
	started := time.Now()
	first, err := d.bus.PublishReceipt(ctx, drafts...)
	if err != nil {
		return err
	}
	took := time.Since(started).Round(time.Millisecond)
	again, err := d.bus.PublishReceipt(ctx, drafts...)
	if err != nil {
		return err
	}
	say(d.out, "stored %s in %v; published again: %s stored, %s recognized by source and id",
		comma(first.Stored), took, comma(again.Stored), comma(again.Duplicates))
	return errors.Join(
		expect("events stored", first.Stored, len(d.feed)),
		expect("events stored again", again.Stored, 0),
		expect("duplicates", again.Duplicates, len(d.feed)))
}

// read lets three groups read the topic, each for itself, and shows the view.
func (d *demo) read(ctx context.Context) error {
	step(d.out, 2, "Three groups read them, each for itself; this is the view of the first")
	err := d.runUntil(ctx, func(s map[string]standing) bool {
		return len(s) == 3 && s["view"].lag+s["quality"].lag+s["triage"].lag == 0
	}, d.view.subscription(),
		deed.Subscribe("quality", nil, deed.On(recorded, d.quality.strict)),
		deed.Subscribe("triage", &deed.SubscribeOptions{SkipDead: true}, deed.On(recorded, d.triage.strict)))
	if err != nil {
		return err
	}
	want := make(counts)
	for _, q := range d.feed {
		want.add(q)
	}
	printView(d.out, d.view.counts)
	if !maps.EqualFunc(d.view.counts, want, slices.Equal) {
		return fmt.Errorf("the view is %v, the feed says %v", d.view.counts, want)
	}
	return expect("events in the view", d.view.handled, len(d.feed))
}

// deadLetters shows what became of the quakes that nobody could handle.
func (d *demo) deadLetters(ctx context.Context) error {
	bad, behind := d.troubles()
	step(d.out, 3, "The groups quality and triage reject %d quakes that have no rms, a field they need", len(bad))
	triage, err := d.letters(ctx, "triage")
	if err != nil {
		return err
	}
	say(d.out, "triage lets what comes after a dead letter through. Its dead letters:")
	var ids []string
	for _, l := range triage {
		say(d.out, "  %s  key %s  %s: %s", l.Event.ID, l.Event.Key, l.Reason, l.Error)
		ids = append(ids, l.Event.ID)
	}
	if !sameSet(ids, bad) {
		return fmt.Errorf("dead letters of triage are %v, the feed says %v", ids, bad)
	}
	quality, err := d.letters(ctx, "quality")
	if err != nil {
		return err
	}
	if len(quality) != 1 || quality[0].Event.ID != bad[0] {
		return fmt.Errorf("quality has %d dead letters, want only %s", len(quality), bad[0])
	}
	l, parked, err := deadletter.Show(ctx, d.bus, quality[0].ID)
	if err != nil {
		return err
	}
	say(d.out, "quality keeps the order per key, so what comes after a dead letter of its key waits behind it:")
	say(d.out, "  %s  key %s  %s: %s; %d parked behind it, the other %d bad ones among them",
		l.Event.ID, l.Event.Key, l.Reason, l.Error, parked, len(bad)-1)
	say(d.out, "The other networks did not notice: quality has handled %s, triage %s.",
		comma(d.quality.count()), comma(d.triage.count()))
	return errors.Join(
		expect("parked in quality", parked, behind),
		expect("handled by quality", d.quality.count(), len(d.feed)-behind-1),
		expect("handled by triage", d.triage.count(), len(d.feed)-len(bad)))
}

// letters lists the dead letters of a group.
func (d *demo) letters(ctx context.Context, group string) ([]deadletter.Letter, error) {
	var letters []deadletter.Letter
	for l, err := range deadletter.List(ctx, d.bus, &deadletter.Filter{Group: group}) {
		if err != nil {
			return nil, err
		}
		letters = append(letters, l)
	}
	return letters, nil
}

// troubles finds in the feed itself the quakes without rms, and how many of their
// key come after the first of them.
func (d *demo) troubles() (bad []string, behind int) {
	first := make(map[string]bool) // keys that had one
	for _, q := range d.feed {
		if first[q.Properties.Network] {
			behind++
		}
		if q.Properties.RMS == nil {
			bad = append(bad, q.ID)
			first[q.Properties.Network] = true
		}
	}
	return bad, behind
}

// redrive gives the dead letters to handlers that can do without rms.
func (d *demo) redrive(ctx context.Context) error {
	step(d.out, 4, "New handlers accept a missing rms, and the dead letters are redriven")
	redriven, err := deadletter.Redrive(ctx, d.bus, nil, nil) // a filter would select some
	if err != nil {
		return err
	}
	err = d.runUntil(ctx, func(s map[string]standing) bool {
		return s["quality"].open()+s["triage"].open() == 0
	}, deed.Subscribe("quality", nil, deed.On(recorded, d.quality.lenient)),
		deed.Subscribe("triage", &deed.SubscribeOptions{SkipDead: true}, deed.On(recorded, d.triage.lenient)))
	if err != nil {
		return err
	}
	standings, err := d.standings(ctx)
	if err != nil {
		return err
	}
	handled := map[string]int{"view": d.view.handled, "quality": d.quality.count(), "triage": d.triage.count()}
	printStandings(d.out, standings, handled)
	inOrder := d.quality.inOrder(d.feed)
	say(d.out, "%d redriven. quality has seen the quakes of %d networks out of %d in the order of the feed.",
		redriven, inOrder, len(d.view.counts))
	errs := []error{expect("networks in order", inOrder, len(d.view.counts))}
	for group, s := range standings {
		errs = append(errs, expect("handled by "+group, handled[group], len(d.feed)),
			expect("open work of "+group, s.open(), 0))
	}
	return errors.Join(errs...)
}

func expect(what string, got, want int) error {
	if got != want {
		return fmt.Errorf("%s: %d, want %d", what, got, want)
	}
	return nil
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
