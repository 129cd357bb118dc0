package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/deedgo/deed/driver"
)

var recordsChecks = []Check{
	{
		Name:    "record-put-and-read",
		Promise: "A record that was put is read as it is, on every connection; before and once deleted it is ErrNotFound.",
		Why:     "A schema or the state of a process that comes back changed is worse than none.",
		Needs:   needs(records),
		Run:     checkRecord,
	},
	{
		Name:    "record-conflict",
		Promise: "Putting or deleting a record that is at another version changes nothing, and says which version there is.",
		Why:     "Whoever decided on what he read must not undo what somebody else wrote meanwhile.",
		Needs:   needs(records),
		Run:     checkRecordConflict,
	},
	{
		Name:    "record-concurrent",
		Promise: "Of several that replace one version at once exactly one does, over all connections.",
		Why:     "Claims and counters that are built on records hold as much as this does.",
		Needs:   needs(records),
		Run:     checkRecordConcurrent,
	},
	{
		Name:    "record-versions-never-repeat",
		Promise: "The versions of a name grow, also when its record was deleted in between.",
		Why:     "Whoever slept through a deletion would replace a record that he has never seen.",
		Needs:   needs(records),
		Run:     checkRecordVersions,
	},
	{
		Name:    "records-listed",
		Promise: "Records lists those of a prefix in the order of their bytes, in pages, whatever their names are made of.",
		Why:     "What a list leaves out is forgotten, and what is special to an engine is not to its users.",
		Needs:   needs(records),
		Run:     checkRecordsListed,
	},
	{
		Name:    "record-refused",
		Promise: "An empty or too long name, one that is no text, and too much data are ErrRefused; the largest is kept.",
		Why:     "What one engine takes and the next does not would end a move between them.",
		Needs:   needs(records),
		Run:     checkRecordRefused,
	},
}

// recordName returns a name that no record has, and removes those that begin with it
// after the check.
func (e *Env) recordName() string {
	e.t.Helper()
	prefix := e.freshName()
	store := capability[driver.Records](e)
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), patience)
		defer cancel()
		for {
			page, err := store.Records(ctx, prefix, "", 100)
			for _, r := range page {
				err = errors.Join(err, store.DeleteRecord(ctx, r.Name, r.Version))
			}
			if err != nil {
				e.t.Errorf("delete records %s: %v", prefix, err)
			}
			if err != nil || len(page) < 100 {
				return
			}
		}
	})
	return prefix
}

// put puts a record and fails the check when that is not accepted.
func (e *Env) put(name, data string, version int64) int64 {
	e.t.Helper()
	v, err := capability[driver.Records](e).PutRecord(e.t.Context(),
		driver.Record{Name: name, Version: version, Data: []byte(data)})
	e.must("put record "+name, err)
	return v
}

// wantRecord checks what a connection reads.
func (e *Env) wantRecord(conn driver.Conn, name, data string, version int64) {
	e.t.Helper()
	r, err := on[driver.Records](e, conn).Record(e.t.Context(), name)
	e.must("read record "+name, err)
	if r.Name != name || string(r.Data) != data || r.Version != version {
		e.t.Errorf("record %q is %q at version %d, want %q at %d", r.Name, r.Data, r.Version, data, version)
	}
}

func checkRecord(t T, e *Env) {
	store, name, other := capability[driver.Records](e), e.recordName(), e.open()
	_, err := store.Record(t.Context(), name)
	e.wantErr("a record that is not there", err, driver.ErrNotFound)
	v := int64(0)
	for _, data := range []string{"one", "", "\x00\xff: \r\n", "one"} {
		next := e.put(name, data, v)
		if next <= v {
			t.Errorf("version %d after %d, want a larger one", next, v)
		}
		v = next
		e.wantRecord(e.conn, name, data, v)
		e.wantRecord(other, name, data, v)
	}
	e.must("delete", on[driver.Records](e, other).DeleteRecord(t.Context(), name, v))
	_, err = store.Record(t.Context(), name)
	e.wantErr("a record that was deleted", err, driver.ErrNotFound)
}

func checkRecordConflict(t T, e *Env) {
	store, name := capability[driver.Records](e), e.recordName()
	put := func(version int64) error {
		_, err := store.PutRecord(t.Context(), driver.Record{Name: name, Version: version, Data: []byte("wrong")})
		return err
	}
	e.wantConflict("replace what is not there", put(1), 0)
	e.wantConflict("delete what is not there", store.DeleteRecord(t.Context(), name, 1), 0)
	old := e.put(name, "old", 0)
	v := e.put(name, "right", old)
	for _, version := range []int64{0, old, v + 1} {
		e.wantConflict(fmt.Sprintf("replace version %d of a record at %d", version, v), put(version), v)
		e.wantConflict("delete it", store.DeleteRecord(t.Context(), name, version), v)
	}
	e.wantRecord(e.conn, name, "right", v)
}

func checkRecordConcurrent(t T, e *Env) {
	name := e.recordName()
	e.put(name, "0", 0)
	stores := []driver.Records{capability[driver.Records](e), on[driver.Records](e, e.open())}
	const writers, each = 4, 5
	waits := make([]func() error, writers)
	for i := range writers {
		store := stores[i%2]
		waits[i] = e.meanwhile(func() error {
			for done := 0; done < each; {
				r, err := store.Record(t.Context(), name)
				if err != nil {
					return err
				}
				n, _ := strconv.Atoi(string(r.Data))
				r.Data = []byte(strconv.Itoa(n + 1))
				switch _, err = store.PutRecord(t.Context(), r); {
				case err == nil:
					done++
				case !errors.Is(err, driver.ErrConflict):
					return err
				}
			}
			return nil
		})
	}
	for _, wait := range waits {
		e.must("count", wait())
	}
	r, err := stores[0].Record(t.Context(), name)
	e.must("read", err)
	if want := strconv.Itoa(writers * each); string(r.Data) != want {
		t.Errorf("the record counts %s, want %s", r.Data, want)
	}
}

func checkRecordVersions(t T, e *Env) {
	store, name := capability[driver.Records](e), e.recordName()
	last := int64(0)
	for range 3 {
		v := e.put(name, "a life", 0)
		if v <= last {
			t.Errorf("version %d in a later life, after %d", v, last)
		}
		last = v
		e.must("delete", store.DeleteRecord(t.Context(), name, v))
	}
	v := e.put(name, "another", 0)
	_, err := store.PutRecord(t.Context(), driver.Record{Name: name, Version: last, Data: []byte("stale")})
	e.wantConflict("a version of a former life", err, v)
}

func checkRecordsListed(t T, e *Env) {
	store, prefix := capability[driver.Records](e), e.recordName()
	var names []string
	for _, s := range []string{
		"", "0", "/", "/a", "/a/b", "/A", "/a%", "/a_", "/\u00e4", "/a\u0308", "/a'\"", "/{x}", "/:1",
		"/*", "/\U0010ffff",
	} {
		names = append(names, prefix+s)
		e.put(prefix+s, "of "+s, 0)
	}
	slices.Sort(names)
	for _, c := range []struct {
		prefix, after string
		limit         int
	}{
		{prefix, "", 100}, {prefix, "", 3}, {prefix, "", 0}, {prefix + "/", "", 100}, {prefix + "/a", "", 100},
		{prefix + "/a", prefix + "/a", 2}, {prefix + "/a%", "", 9}, {prefix + "/\u00e4", "", 9},
		{prefix + "/none", "", 9},
		{prefix, names[5], 4}, {prefix, names[len(names)-1], 4},
	} {
		want := slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			return !strings.HasPrefix(n, c.prefix) || n <= c.after
		})
		want = want[:min(len(want), c.limit)]
		page, err := store.Records(t.Context(), c.prefix, c.after, c.limit)
		e.must("list", err)
		var got []string
		for _, r := range page {
			got = append(got, r.Name)
			if string(r.Data) != "of "+strings.TrimPrefix(r.Name, prefix) || r.Version == 0 {
				t.Errorf("record %q is listed as %q at version %d", r.Name, r.Data, r.Version)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d records with %q after %q are %q, want %q", c.limit, c.prefix, c.after, got, want)
		}
	}
}

func checkRecordRefused(t T, e *Env) {
	store, prefix := capability[driver.Records](e), e.recordName()
	longest := prefix + strings.Repeat("x", driver.MaxRecordName-len(prefix))
	for what, r := range map[string]driver.Record{
		"no name":          {Data: []byte("x")},
		"a long name":      {Name: longest + "x"},
		"no text":          {Name: prefix + "\xff"},
		"a zero byte":      {Name: prefix + "\x00"},
		"a version of -1":  {Name: prefix, Version: -1},
		"too much of data": {Name: prefix, Data: make([]byte, driver.MaxRecordBytes+1)},
	} {
		_, err := store.PutRecord(t.Context(), r)
		e.wantErr(what, err, driver.ErrRefused)
	}
	data := bytes.Repeat([]byte{0, 1, 2, 255}, driver.MaxRecordBytes/4)
	v := e.put(longest, string(data), 0)
	r, err := store.Record(t.Context(), longest)
	e.must("read the largest", err)
	if r.Version != v || !bytes.Equal(r.Data, data) {
		t.Errorf("the largest record comes back with %d bytes at version %d", len(r.Data), r.Version)
	}
}
