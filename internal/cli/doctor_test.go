package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

func TestDoctorGroups(t *testing.T) {
	long := time.Now().Add(-25 * time.Hour)
	for _, c := range []struct {
		group  driver.GroupInfo
		lag    driver.PartitionLag
		result string
		text   string
	}{
		{driver.GroupInfo{LastSeen: long, Members: []string{"m"}}, driver.PartitionLag{Events: 5}, "", ""},
		{driver.GroupInfo{LastSeen: time.Now()}, driver.PartitionLag{Events: 5}, "", ""},
		{driver.GroupInfo{LastSeen: long}, driver.PartitionLag{Events: 1200, Parked: 34, Oldest: long}, isWrong,
			"abandoned: no member for 1d1h; it holds back 1,234 events of t, the first stored 1d1h ago"},
		{driver.GroupInfo{LastSeen: long}, driver.PartitionLag{}, isNote,
			"abandoned: no member for 1d1h; it has handled all of t"},
		{driver.GroupInfo{LastSeen: time.Now(), Dropped: 3}, driver.PartitionLag{}, isWrong,
			"3 events of t removed before it had handled them"},
	} {
		c.group.Group, c.group.Topic = "g", "t"
		var d doctor
		d.examineGroup(c.group, standing{c.lag})
		switch {
		case c.result == "" && len(d.findings) == 0:
		case len(d.findings) != 1 || d.findings[0].Result != c.result || d.findings[0].Value != c.text:
			t.Errorf("%+v, %+v: %+v (want %s %q)", c.group, c.lag, d.findings, c.result, c.text)
		}
	}
}

// A writer that does not let go is found, and the engine is not waited for.
func TestDoctorFrozenWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	command(t, "{}\n", "pub", "t", "-u", "sqlite:"+path)
	lock, err := sqldb.OpenFileLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := lock.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	var d doctor
	stuck, err := d.examineFile(t.Context(), path)
	last := d.findings[len(d.findings)-1]
	if err != nil || !stuck || last.Result != isWrong || !strings.HasPrefix(last.Value, "held for over 1s by "+whoLocks) {
		t.Errorf("stuck %v, %v: %+v", stuck, err, last)
	}
	lock.Unlock()
	if stuck, err = d.examineFile(t.Context(), path); err != nil || stuck {
		t.Errorf("after that: stuck %v, %v", stuck, err)
	}
}

func TestSQLitePath(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:a.db": "a.db", "sqlite:/x/a.db": "/x/a.db", "sqlite:///x/a.db": "/x/a.db", "mem:": "", "sqlite:": "",
		"sqlite://a.db": "",
	} {
		if got, ok := sqlitePath(url); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v (want %q)", url, got, ok, want)
		}
	}
	if got := withoutPassword("redis://user:secret@host:1/0"); got != "redis://host:1/0" {
		t.Errorf("a URL with a password shows as %s", got)
	}
}
