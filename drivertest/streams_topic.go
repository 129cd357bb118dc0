package drivertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// versionThere returns the version that a conflict tells.
func versionThere(err error) (version int64, ok bool) {
	var conflict *driver.ConflictError
	if ok = errors.As(err, &conflict); ok {
		version = conflict.Version
	}
	return version, ok
}

func checkStreamRepeat(t T, e *Env) {
	info := e.streamTopic(2)
	first := e.appended(info.Name, "k", 0, "1", "2")
	last := e.appended(info.Name, "k", 2, "3", "4")
	for what, c := range map[string]struct {
		version int64
		ids     string
		want    string
	}{"the first": {0, "1 2", first}, "the last": {2, "3 4", last}} {
		got, err := e.appendAt(e.open(), info.Name, "k", c.version, strings.Fields(c.ids)...)
		e.must(what+" again", err)
		if got != c.want {
			t.Errorf("%s again is at %q, want %q", what, got, c.want)
		}
	}
	for what, c := range map[string]struct {
		version int64
		ids     string
	}{"other events": {2, "3 x"}, "more events": {2, "3 4 5"}, "the same of another version": {1, "1 2"}} {
		_, err := e.appendAt(e.conn, info.Name, "k", c.version, strings.Fields(c.ids)...)
		e.wantConflict(what, err, 4)
	}
	foreign := message("4", "k")
	foreign.Source = "/another"
	_, err := capability[driver.Streams](e).AppendStream(t.Context(), driver.StreamBatch{
		Topic: info.Name, Key: "k", Version: 3, Messages: []driver.Message{foreign},
	})
	e.wantConflict("the same id of another source", err, 4)
	e.wantStream(info.Name, "k", "1", "2", "3", "4")
}

func checkStreamTopic(t T, e *Env) {
	const partitions, versions = 4, 12
	info := e.streamTopic(partitions)
	m := e.join(e.conn, info.Name, "group")
	m.owns(partitions)
	keys := []string{"a", "b", "c", "d"}
	ends := make(map[string]string)
	waits := make([]func() error, len(keys))
	for i, key := range keys {
		conn := e.open()
		waits[i] = e.meanwhile(func() (err error) {
			for v := int64(0); v < versions && err == nil; v += 2 {
				_, err = e.appendAt(conn, info.Name, key, v, fmt.Sprint(key, v+1), fmt.Sprint(key, v+2))
			}
			return err
		})
	}
	for _, wait := range waits {
		e.must("append", wait())
	}
	for _, key := range keys {
		ends[key] = e.appended(info.Name, key, versions, fmt.Sprint(key, versions+1))
	}
	seen := make(map[string]int)
	for _, d := range m.take(len(keys) * (versions + 1)) {
		seen[d.Key]++
		if want := fmt.Sprint(d.Key, seen[d.Key]); d.ID != want {
			t.Errorf("event %s came, want %s: the order of its stream", d.ID, want)
		}
		if want := driver.PartitionOf(d.Key, partitions); d.Partition != want {
			t.Errorf("event %s is in partition %d, want %d, that of its key", d.ID, d.Partition, want)
		}
		if seen[d.Key] == versions+1 && d.Position != ends[d.Key] {
			t.Errorf("event %s came from %s, and was appended at %s", d.ID, d.Position, ends[d.Key])
		}
	}
	m.quiet("each event comes once")
}

func checkStreamKeys(t T, e *Env) {
	info := e.streamTopic(3)
	keys := []string{
		" ", "a", "A", "a ", "a:b", "a:b:c", "{a}", "a}b{c", "*", "?", "%", "_", "'; drop", "a\nb",
		"\u00e4", "a\u0308", "\U0010ffff", "null", "0", "-1", "streams", "stream:a", strings.Repeat("long ", 200),
	}
	for i, key := range keys {
		e.appended(info.Name, key, 0, fmt.Sprint(i))
	}
	for i, key := range keys {
		e.appended(info.Name, key, 1, fmt.Sprint(i, " again"))
	}
	for i, key := range keys {
		e.wantStream(info.Name, key, fmt.Sprint(i), fmt.Sprint(i, " again"))
	}
	for _, key := range []string{"", "a\xff", "a\x00b"} {
		_, err := e.appendAt(e.conn, info.Name, key, 0, "x")
		e.wantErr(fmt.Sprintf("key %q", key), err, driver.ErrRefused)
	}
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("m", i)
	}
	e.appended(info.Name, "many", 0, many...)
	if got := e.stream(info.Name, "many", 0, 1000); !slices.Equal(got, many) {
		t.Errorf("of %d events appended at once the stream holds %d", len(many), len(got))
	}
}

func checkStreamKind(t T, e *Env) {
	info, plain := e.streamTopic(2), e.topic(driver.TopicSettings{Partitions: 2})
	if !info.Streams || plain.Streams {
		t.Errorf("topics say that they are of streams: %v and %v, want true and false", info.Streams, plain.Streams)
	}
	e.wantErr("publish to a topic of streams", e.publishErr(batch(info, 0, message("1", "k"))), driver.ErrRefused)
	_, err := e.appendAt(e.conn, plain.Name, "k", 0, "1")
	e.wantErr("append to a topic without streams", err, driver.ErrRefused)
	absent := e.freshName()
	_, err = e.appendAt(e.conn, absent, "k", 0, "1")
	e.wantErr("append to no topic", err, driver.ErrNotFound)
	page := driver.StreamPage{Topic: plain.Name, Key: "k", Limit: 1}
	_, err = capability[driver.Streams](e).ReadStream(t.Context(), page)
	e.wantErr("read from a topic without streams", err, driver.ErrRefused)
	page.Topic = absent
	_, err = capability[driver.Streams](e).ReadStream(t.Context(), page)
	e.wantErr("read from no topic", err, driver.ErrNotFound)
	topics := capability[driver.Topics](e)
	e.wantErr("make it an ordinary one", topics.SetTopic(t.Context(), info.Name, driver.TopicSettings{Partitions: 2}),
		driver.ErrRefused)
	for what, s := range map[string]driver.TopicSettings{
		"keep": {Keep: time.Hour}, "hold": {Hold: time.Hour}, "an id window": {Dedupe: time.Hour},
		"order by type": {PartitionBy: "type"},
	} {
		s.Streams = true
		name := e.freshName()
		e.deleteLater(name)
		_, err := topics.CreateTopic(t.Context(), name, s)
		e.wantErr("streams with "+what, err, driver.ErrRefused)
	}
}

func checkStreamStays(t T, e *Env) {
	info := e.streamTopic(2)
	e.appended(info.Name, "k", 0, "1", "2", "3")
	if sweeper, ok := driver.As[driver.Sweeper](e.conn); ok {
		n, err := sweeper.Sweep(t.Context(), info.Name)
		e.must("sweep", err)
		if n != 0 {
			t.Errorf("%d events of streams were removed", n)
		}
	}
	e.wantStream(info.Name, "k", "1", "2", "3")
	topics := capability[driver.Topics](e)
	e.must("delete", topics.DeleteTopic(t.Context(), info.Name))
	_, err := topics.CreateTopic(t.Context(), info.Name, driver.TopicSettings{Partitions: 2, Streams: true})
	e.must("create anew", err)
	e.wantStream(info.Name, "k")
	_, err = e.appendAt(e.conn, info.Name, "k", 3, "4")
	e.wantConflict("the version of a former life", err, 0)
	e.appended(info.Name, "k", 0, "new")
	e.wantStream(info.Name, "k", "new")
}
