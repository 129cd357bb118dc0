package drivertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var topicsChecks = []Check{
	{
		Name:    "topic-settings",
		Promise: "A topic keeps the settings that it was created with, and says so.",
		Why:     "A partition count that is not the one asked for breaks the order of every key.",
		Takes:   hasTopics,
		Run:     checkTopicSettings,
	},
	{
		Name:    "topic-created-once",
		Promise: "Creating a topic that exists returns it as it is.",
		Why:     "Every service that starts creates its topics; the second must not change the first's.",
		Takes:   hasTopics,
		Run:     checkTopicCreatedOnce,
	},
	{
		Name:    "topic-set",
		Promise: "Dedupe, Keep and Hold can be changed; Partitions and PartitionBy cannot.",
		Why:     "Another partition count would send a key's next event elsewhere, past the earlier ones.",
		Takes:   hasTopics,
		Run:     checkTopicSet,
	},
	{
		Name:    "absent-topic",
		Promise: "An absent topic is ErrNotFound, and nothing but CreateTopic creates it.",
		Why:     "A mistyped name must be an error and not a new, empty topic.",
		Takes:   hasTopics,
		Run:     checkAbsentTopic,
	},
	{
		Name:    "topic-deleted",
		Promise: "A deleted topic is gone with its events and groups, and a new one is another life of the log.",
		Why:     "A checkpoint of the old log must not be taken for one of the new.",
		Needs:   needs(groups),
		Takes:   hasTopics,
		Run:     checkTopicDeleted,
	},
	{
		Name:    "topic-generation",
		Promise: "A batch for another generation or an absent partition is refused, and nothing of it is stored.",
		Why:     "A publisher with an old partition count would break the order of keys.",
		Takes:   hasTopics,
		Run:     checkGeneration,
	},
	{
		Name:    "topic-generation-never-repeats",
		Promise: "Every creation under a name has a larger generation; a batch for an earlier one is refused.",
		Why:     "A publisher that slept through it all must not write to the topic that took the name.",
		Takes:   hasTopics,
		Run:     checkGenerations,
	},
	{
		Name:    "members-of-a-deleted-topic",
		Promise: "Members of a deleted topic hear ErrNotFound, and cannot settle the one that takes its name.",
		Why:     "A service that goes on waiting for what will never come looks healthy.",
		Needs:   needs(groups),
		Takes:   hasTopics,
		Run:     checkDeletedMembers,
	},
}

func checkTopicSettings(t T, e *Env) {
	topics := capability[driver.Topics](e)
	asked := driver.TopicSettings{
		Partitions: 3, PartitionBy: "type", Keep: 48 * time.Hour, Hold: 96 * time.Hour,
		MaxBytes: e.features.MaxTopicBytes,
	}
	if e.features.Dedupe {
		asked.Dedupe = time.Hour
	}
	before := time.Now().Add(-time.Hour)
	info := e.topic(asked)
	described, err := topics.Topic(t.Context(), info.Name)
	e.must("describe", err)
	for _, got := range []driver.TopicInfo{info, described} {
		if got.TopicSettings != asked {
			t.Errorf("settings are %+v, want %+v", got.TopicSettings, asked)
		}
		if got.Generation < 1 || got.Incarnation == "" || got.Created.Before(before) {
			t.Errorf("generation %d, incarnation %q, created %v: want 1 or more, a name, and now",
				got.Generation, got.Incarnation, got.Created)
		}
	}
	plain := e.topic(driver.TopicSettings{})
	want := driver.TopicSettings{
		Partitions: driver.DefaultPartitions, PartitionBy: plain.PartitionBy, Keep: driver.DefaultKeep,
		MaxBytes: e.features.MaxTopicBytes,
	}
	if plain.TopicSettings != want || plain.PartitionBy != "" && plain.PartitionBy != "key" {
		t.Errorf("settings by default are %+v, want %d partitions by key, kept %v",
			plain.TopicSettings, driver.DefaultPartitions, driver.DefaultKeep)
	}
	all, err := topics.Topics(t.Context())
	e.must("list", err)
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	if !slices.IsSorted(names) || !slices.Contains(names, info.Name) || !slices.Contains(names, plain.Name) {
		t.Errorf("topics are listed as %q, want them sorted, with %s and %s", names, info.Name, plain.Name)
	}
	e.publish(e.conn, batch(info, 0, numbered(1, 3)...), batch(info, 2, numbered(4, 2)...))
	if described, err = topics.Topic(t.Context(), info.Name); err != nil || described.Events != 5 {
		t.Errorf("the topic has %d events, %v, want 5", described.Events, err)
	}
}

func checkTopicCreatedOnce(t T, e *Env) {
	first := e.topic(driver.TopicSettings{Partitions: 3})
	e.publish(e.conn, batch(first, 0, numbered(1, 2)...))
	again, err := on[driver.Topics](e, e.open()).CreateTopic(t.Context(), first.Name, driver.TopicSettings{Partitions: 5})
	e.must("create it again", err)
	if again.Partitions != 3 || again.Incarnation != first.Incarnation || again.Generation != first.Generation {
		t.Errorf("created again with 5 partitions it is %+v, want %+v", again, first)
	}
	if again.Events != 2 {
		t.Errorf("created again it has %d events, want its 2", again.Events)
	}
}

func checkTopicSet(t T, e *Env) {
	topics := capability[driver.Topics](e)
	info := e.topic(driver.TopicSettings{Partitions: 2})
	changed := info.TopicSettings
	changed.Keep, changed.Hold = 30*24*time.Hour, 60*24*time.Hour
	if e.features.Dedupe {
		changed.Dedupe = time.Hour
	}
	e.must("set", topics.SetTopic(t.Context(), info.Name, changed))
	got, err := topics.Topic(t.Context(), info.Name)
	if err != nil || got.TopicSettings != changed {
		t.Errorf("settings are %+v, %v, want %+v", got.TopicSettings, err, changed)
	}
	more, byType := changed, changed
	more.Partitions, byType.PartitionBy = 3, "type"
	e.wantErr("set Partitions", topics.SetTopic(t.Context(), info.Name, more), driver.ErrRefused)
	e.wantErr("set PartitionBy", topics.SetTopic(t.Context(), info.Name, byType), driver.ErrRefused)
	if got, err = topics.Topic(t.Context(), info.Name); err != nil || got.TopicSettings != changed {
		t.Errorf("after what was refused, settings are %+v, %v, want %+v", got.TopicSettings, err, changed)
	}
}

func checkAbsentTopic(t T, e *Env) {
	ctx, topics := t.Context(), capability[driver.Topics](e)
	name := e.freshName()
	e.deleteLater(name)
	_, err := topics.Topic(ctx, name)
	e.wantErr("Topic", err, driver.ErrNotFound)
	e.wantErr("SetTopic", topics.SetTopic(ctx, name, driver.TopicSettings{Partitions: 1}), driver.ErrNotFound)
	e.wantErr("DeleteTopic", topics.DeleteTopic(ctx, name), driver.ErrNotFound)
	e.wantErr("Publish", e.publishErr(batch(driver.TopicInfo{Name: name, Generation: 1}, 0, message("1", ""))),
		driver.ErrNotFound)
	_, err = e.conn.Subscribe(ctx, driver.SubscribeSpec{Topic: name, Group: "group", Lease: lease})
	e.wantErr("Subscribe", err, driver.ErrNotFound)
	if b, ok := driver.As[driver.Browser](e.conn); ok {
		_, err = b.Browse(ctx, driver.Page{Topic: name, Limit: 1})
		e.wantErr("Browse", err, driver.ErrNotFound)
		_, err = b.Ends(ctx, name)
		e.wantErr("Ends", err, driver.ErrNotFound)
		_, err = b.Seek(ctx, name, 0, time.Now())
		e.wantErr("Seek", err, driver.ErrNotFound)
	}
	if g, ok := driver.As[driver.Groups](e.conn); ok {
		lags, err := g.Lag(ctx, "", name)
		if len(lags) > 0 || err != nil {
			e.wantErr("Lag", err, driver.ErrNotFound)
		}
		e.wantErr("DeleteGroup", g.DeleteGroup(ctx, "group", name), driver.ErrNotFound)
		e.wantErr("PauseGroup", g.PauseGroup(ctx, "group", name, true), driver.ErrNotFound)
	}
	_, err = topics.Topic(ctx, name)
	e.wantErr("Topic, after all these", err, driver.ErrNotFound)
}

func checkTopicDeleted(t T, e *Env) {
	ctx, topics := t.Context(), capability[driver.Topics](e)
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, 3)...))
	m := e.join(e.conn, info.Name, "group")
	m.take(3)
	if e.features.SideLog {
		log := capability[driver.SideLog](e)
		e.must("park", log.Park(ctx, m.claims[0], []driver.Parked{parked(m.got[0], driver.Dead)}))
	}
	m.release(0, m.got[2].Position)
	m.close()
	e.must("delete", topics.DeleteTopic(ctx, info.Name))
	_, err := topics.Topic(ctx, info.Name)
	e.wantErr("Topic, after its deletion", err, driver.ErrNotFound)
	e.wantNoLetters(info.Name)

	anew, err := topics.CreateTopic(ctx, info.Name, driver.TopicSettings{Partitions: 1})
	e.must("create it anew", err)
	if anew.Incarnation == info.Incarnation || anew.Events != 0 {
		t.Errorf("created anew it has incarnation %q and %d events, want another than %q and none",
			anew.Incarnation, anew.Events, info.Incarnation)
	}
	e.publish(e.conn, batch(anew, 0, numbered(11, 2)...))
	m = e.join(e.conn, info.Name, "group")
	if got := ids(m.take(2)); !slices.Equal(got, []string{"11", "12"}) {
		t.Errorf("the group of the same name got %v, want 11 and 12", got)
	}
}

// wantNoLetters checks that nothing is left in the side logs of a topic.
func (e *Env) wantNoLetters(topic string) {
	e.t.Helper()
	letters, ok := driver.As[driver.Letters](e.conn)
	if !ok {
		return
	}
	ls, err := letters.List(e.t.Context(), driver.LetterFilter{Topic: topic})
	if len(ls) > 0 || err != nil && !errors.Is(err, driver.ErrNotFound) {
		e.t.Errorf("%d letters are left, %v, want none", len(ls), err)
	}
}

func checkGeneration(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	other := info
	other.Generation++
	e.wantErr("another generation", e.publishErr(batch(other, 0, message("1", ""))), driver.ErrRefused)
	e.wantErr("partition 2 of 2", e.publishErr(batch(info, 2, message("2", ""))), driver.ErrRefused)
	e.wantErr("partition -1", e.publishErr(batch(info, -1, message("3", ""))), driver.ErrRefused)
	got, err := capability[driver.Topics](e).Topic(context.WithoutCancel(t.Context()), info.Name)
	if err != nil || got.Events != 0 {
		t.Errorf("the topic has %d events, %v, want none of what was refused", got.Events, err)
	}
}

func checkGenerations(t T, e *Env) {
	ctx, topics := t.Context(), capability[driver.Topics](e)
	first := e.topic(driver.TopicSettings{Partitions: 1})
	last := first
	for i := range 3 {
		e.must("delete", on[driver.Topics](e, e.open()).DeleteTopic(ctx, first.Name))
		anew, err := topics.CreateTopic(ctx, first.Name, driver.TopicSettings{Partitions: i + 2})
		e.must("create it anew", err)
		if anew.Generation <= last.Generation || anew.Incarnation == last.Incarnation {
			t.Errorf("created anew it is generation %d, incarnation %q, after %d, %q: want a larger one and another",
				anew.Generation, anew.Incarnation, last.Generation, last.Incarnation)
		}
		for _, old := range []driver.TopicInfo{first, last} {
			e.wantErr("a batch for an earlier generation", e.publishErr(batch(old, 0, message("1", ""))), driver.ErrRefused)
		}
		unchecked := anew
		unchecked.Generation = 0
		e.expect(anew, "group")
		e.wantStored("for any generation", e.publish(e.conn, batch(unchecked, 0, message("2", "")))[0], 1)
		if got := e.describe(anew); got.Events != 1 || got.Generation != anew.Generation {
			t.Errorf("it has %d events in generation %d, want 1 in %d", got.Events, got.Generation, anew.Generation)
		}
		last = anew
	}
}

func checkDeletedMembers(t T, e *Env) {
	ctx, topics := t.Context(), capability[driver.Topics](e)
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.expect(info, "group", "another")
	e.publish(e.conn, batch(info, 0, numbered(1, 3)...))
	m, idle := e.join(e.open(), info.Name, "group"), e.join(e.open(), info.Name, "another")
	m.take(3)
	idle.take(3)
	waiting := e.meanwhile(func() error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := idle.sub.Receive(ctx, roomy())
		return err
	})
	e.must("delete", topics.DeleteTopic(ctx, info.Name))
	e.wantErr("the Receive that waited", waiting(), driver.ErrNotFound)
	e.eventually("Receive is ErrNotFound", func() bool {
		ctx, cancel := context.WithTimeout(ctx, turn)
		defer cancel()
		_, err := m.sub.Receive(ctx, roomy())
		return errors.Is(err, driver.ErrNotFound)
	})
	late := driver.Settlement{Epoch: m.claims[0].Epoch, Position: m.got[1].Position}
	_, err := m.sub.Settle(ctx, []driver.Settlement{late})
	e.wantErr("Settle", err, driver.ErrNotFound)

	anew, err := topics.CreateTopic(ctx, info.Name, driver.TopicSettings{Partitions: 1})
	e.must("create it anew", err)
	e.publish(e.conn, batch(anew, 0, numbered(11, 3)...))
	e.joinFrom(e.conn, info.Name, "group", driver.From{}).close()
	if lost, err := m.sub.Settle(ctx, []driver.Settlement{late}); err == nil && len(lost) == 0 {
		t.Errorf("a member of the old topic settled the new one")
	}
	next := e.join(e.conn, info.Name, "group")
	if got := ids(next.take(3)); !slices.Equal(got, []string{"11", "12", "13"}) {
		t.Errorf("the new topic's group got %v, want 11 to 13", got)
	}
}
