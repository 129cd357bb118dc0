package drivertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

var streamsChecks = []Check{
	{
		Name:    "stream-reads-back",
		Promise: "ReadStream returns what was appended, in order of version, from any version on and no more than asked for.",
		Why:     "The state of a thing is what its events say, each counted once and in turn.",
		Needs:   needs(streams),
		Run:     checkStreamRead,
	},
	{
		Name:    "stream-conflict",
		Promise: "Appending to another version than the stream's stores nothing, and says which version there is.",
		Why:     "A decision that was made on an old state must not become a fact; whoever made it decides anew.",
		Needs:   needs(streams),
		Run:     checkStreamConflict,
	},
	{
		Name:    "stream-concurrent",
		Promise: "Of several that append to one version at once exactly one does, over all connections.",
		Why:     "Two instances that sell the last seat do it at the same moment.",
		Needs:   needs(streams),
		Run:     checkStreamConcurrent,
	},
	{
		Name:    "stream-append-is-one-step",
		Promise: "Nobody ever reads a part of what is appended together.",
		Why:     "Half of a decision is a state that never was.",
		Needs:   needs(streams),
		Run:     checkStreamAtomic,
	},
	{
		Name:    "stream-append-refused",
		Promise: "A batch without events, or with one that is delayed or of another key, is ErrRefused and stores nothing.",
		Why:     "An event in the wrong stream cannot be taken back.",
		Needs:   needs(streams),
		Run:     checkStreamRefused,
	},
	{
		Name:    "stream-repeat",
		Promise: "The same append again succeeds, with the same position, and stores nothing; another one is a conflict.",
		Why:     "The answer to the first was lost. Its author must not take its own events for somebody else's.",
		Needs:   needs(streams),
		Run:     checkStreamRepeat,
	},
	{
		Name:    "stream-in-its-topic",
		Promise: "Groups meet a stream's events in its order, in its key's partition, at the positions that appending told.",
		Why:     "Views are made from the topic, and whoever wrote waits for the position of what he wrote.",
		Needs:   needs(streams, groups),
		Run:     checkStreamTopic,
	},
	{
		Name:    "stream-of-any-key",
		Promise: "Any text but the empty one is a key, and keys that look alike have streams of their own.",
		Why:     "Keys come from users, and what is special to an engine is not to them.",
		Needs:   needs(streams),
		Run:     checkStreamKeys,
	},
	{
		Name:    "stream-topics-are-a-kind",
		Promise: "A topic of streams is fixed as such: publishing to it and appending to any other are ErrRefused.",
		Why:     "An event without a version among those that have one would leave every reader of the stream wrong.",
		Needs:   needs(streams),
		Run:     checkStreamKind,
	},
	{
		Name:    "stream-stays",
		Promise: "Retention takes nothing from a stream; a topic that is deleted and made anew has no streams.",
		Why:     "A stream that lacks its first events is no state, and neither is one that begins with a former life's.",
		Needs:   needs(streams),
		Run:     checkStreamStays,
	},
}

// streamTopic creates a topic of streams.
func (e *Env) streamTopic(partitions int) driver.TopicInfo {
	e.t.Helper()
	return e.topic(driver.TopicSettings{Partitions: partitions, Streams: true})
}

// appendAt appends events with these ids to a stream.
func (e *Env) appendAt(conn driver.Conn, topic, key string, version int64, ids ...string) (string, error) {
	e.t.Helper()
	b := driver.StreamBatch{Topic: topic, Key: key, Version: version}
	for _, id := range ids {
		b.Messages = append(b.Messages, message(id, key))
	}
	return on[driver.Streams](e, conn).AppendStream(e.t.Context(), b)
}

// appended is appendAt for what has to succeed.
func (e *Env) appended(topic, key string, version int64, ids ...string) (last string) {
	e.t.Helper()
	last, err := e.appendAt(e.conn, topic, key, version, ids...)
	e.must(fmt.Sprintf("append to stream %q at version %d", key, version), err)
	return last
}

// wantConflict fails the check unless err says that the version is there.
func (e *Env) wantConflict(what string, err error, version int64) {
	e.t.Helper()
	e.wantErr(what, err, driver.ErrConflict)
	if there, ok := versionThere(err); ok && there != version {
		e.t.Errorf("%s: the conflict says version %d, want %d", what, there, version)
	}
}

// stream returns the ids of a stream's events.
func (e *Env) stream(topic, key string, after int64, limit int) []string {
	e.t.Helper()
	ds, err := capability[driver.Streams](e).ReadStream(e.t.Context(),
		driver.StreamPage{Topic: topic, Key: key, After: after, Limit: limit})
	e.must("read stream "+key, err)
	return ids(ds)
}

// wantStream checks what a stream holds.
func (e *Env) wantStream(topic, key string, want ...string) {
	e.t.Helper()
	if got := e.stream(topic, key, 0, 1000); !slices.Equal(got, want) {
		e.t.Errorf("stream %q holds %q, want %q", key, got, want)
	}
}

func checkStreamRead(t T, e *Env) {
	info := e.streamTopic(3)
	e.appended(info.Name, "cart", 0, "a", "b", "c")
	e.appended(info.Name, "other", 0, "x")
	e.appended(info.Name, "cart", 3, "d", "e")
	for _, c := range []struct {
		after int64
		limit int
		want  string
	}{{0, 10, "a b c d e"}, {0, 2, "a b"}, {2, 2, "c d"}, {4, 10, "e"}, {5, 10, ""}, {9, 10, ""}, {0, 0, ""}} {
		if got := strings.Join(e.stream(info.Name, "cart", c.after, c.limit), " "); got != c.want {
			t.Errorf("%d events after version %d are %q, want %q", c.limit, c.after, got, c.want)
		}
	}
	e.wantStream(info.Name, "nobody's")
	full := message("full", "whole")
	full.Attributes = map[string]string{"subject": "é\"\\\n", "empty": ""}
	full.Data, full.ContentType, full.Version = []byte("\x00\xff\n"), "application/x", 7
	streams := capability[driver.Streams](e)
	_, err := streams.AppendStream(t.Context(), driver.StreamBatch{
		Topic: info.Name, Key: "whole", Messages: []driver.Message{full},
	})
	e.must("append", err)
	ds, err := streams.ReadStream(t.Context(), driver.StreamPage{Topic: info.Name, Key: "whole", Limit: 1})
	e.must("read", err)
	if len(ds) != 1 {
		t.Fatalf("%d events in the stream, want 1", len(ds))
	}
	sameMessage(t, &ds[0].Message, &full)
}

func checkStreamConflict(_ T, e *Env) {
	info := e.streamTopic(2)
	_, err := e.appendAt(e.conn, info.Name, "k", 1, "early")
	e.wantConflict("version 1 of a new stream", err, 0)
	e.appended(info.Name, "k", 0, "1", "2")
	for _, version := range []int64{0, 1, 3, 100} {
		_, err := e.appendAt(e.open(), info.Name, "k", version, "late", "later", "latest")
		e.wantConflict(fmt.Sprintf("version %d of a stream at 2", version), err, 2)
	}
	e.wantStream(info.Name, "k", "1", "2")
	e.appended(info.Name, "k", 2, "3")
	e.wantStream(info.Name, "k", "1", "2", "3")
}

func checkStreamConcurrent(t T, e *Env) {
	info := e.streamTopic(2)
	conns := []driver.Conn{e.conn, e.open()}
	const senders, versions = 6, 8
	var winners []string
	for version := range int64(versions) {
		errs := make([]error, senders)
		waits := make([]func() error, senders)
		for i := range senders {
			waits[i] = e.meanwhile(func() error {
				_, errs[i] = e.appendAt(conns[i%2], info.Name, "k", version, fmt.Sprintf("%d by %d", version, i))
				return nil
			})
		}
		won := 0
		for i, wait := range waits {
			e.must("append", wait())
			if errs[i] == nil {
				won++
				winners = append(winners, fmt.Sprintf("%d by %d", version, i))
			} else {
				e.wantConflict("who came late", errs[i], version+1)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d appended at version %d, want 1", won, senders, version)
		}
	}
	e.wantStream(info.Name, "k", winners...)
}

func checkStreamAtomic(t T, e *Env) {
	info := e.streamTopic(1)
	const batches, size = 20, 5
	conn := e.open()
	done := make(chan struct{})
	written := e.meanwhile(func() error {
		defer close(done)
		for i := range batches {
			five := make([]string, size)
			for k := range five {
				five[k] = fmt.Sprint(i*size + k)
			}
			if _, err := e.appendAt(conn, info.Name, "k", int64(i*size), five...); err != nil {
				return err
			}
		}
		return nil
	})
	n := 0
	for reading := true; reading && n%size == 0; {
		select {
		case <-done:
			reading = false
		default:
		}
		n = len(e.stream(info.Name, "k", 0, 1000))
	}
	if n%size != 0 {
		t.Errorf("%d events could be read, which are not whole batches of %d", n, size)
	}
	e.must("append", written())
	if n := len(e.stream(info.Name, "k", 0, 1000)); n != batches*size {
		t.Errorf("%d events in the end, want %d", n, batches*size)
	}
}

func checkStreamRefused(_ T, e *Env) {
	info := e.streamTopic(1)
	foreign, delayed := message("2", "another"), message("2", "k")
	delayed.NotBefore = time.Now().Add(time.Hour)
	streams := capability[driver.Streams](e)
	for what, ms := range map[string][]driver.Message{
		"no event": nil, "another's event": {message("1", "k"), foreign, message("3", "k")},
		"a delayed event": {message("1", "k"), delayed},
	} {
		_, err := streams.AppendStream(e.t.Context(), driver.StreamBatch{Topic: info.Name, Key: "k", Messages: ms})
		e.wantErr(what, err, driver.ErrRefused)
	}
	_, err := e.appendAt(e.conn, info.Name, "k", -1, "1")
	e.wantErr("version -1", err, driver.ErrRefused)
	_, err = e.appendAt(e.conn, info.Name, "", 0, "1")
	e.wantErr("no key", err, driver.ErrRefused)
	ctx, cancel := context.WithCancel(e.t.Context())
	cancel()
	_, err = streams.AppendStream(ctx, driver.StreamBatch{
		Topic: info.Name, Key: "k", Messages: []driver.Message{message("1", "k")},
	})
	e.wantErr("when the caller has gone", err, context.Canceled)
	e.wantStream(info.Name, "k")
	e.wantStream(info.Name, "another")
}
