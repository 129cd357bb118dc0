package cli

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deedgo/deed/sqldb"
)

const (
	// frozenAfter is how long a writer may hold the write lock.
	frozenAfter = time.Second
	// spaceLow is when little free disk space counts as wrong.
	spaceLow = 512 << 20
	// walLarge is when the write-ahead log says that a reader keeps it from shrinking.
	walLarge = 1 << 30
)

// sqlitePath returns the file that a SQLite URL names.
func sqlitePath(url string) (string, bool) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if strings.HasPrefix(path, "///") {
		path = path[2:]
	}
	return path, ok && path != "" && !strings.HasPrefix(path, "//")
}

// examineFile looks at a database's file and what is around it. It reports whether
// the write lock is stuck, in which case it did not touch the database.
func (d *doctor) examineFile(ctx context.Context, path string) (stuck bool, err error) {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return false, nil // opening the engine says what is wrong
	}
	size := bytesText(info.Size())
	wal, err := os.Stat(path + "-wal")
	switch {
	case err == nil && wal.Size() > walLarge:
		d.add(isWrong, "file", size+", and a write-ahead log of "+bytesText(wal.Size()),
			"a long transaction of some reader keeps the log from being taken over; end it")
	case err == nil:
		d.add(isOK, "file", size+", and a write-ahead log of "+bytesText(wal.Size()), "")
	default:
		d.add(isOK, "file", size, "")
	}
	d.examineDisk(filepath.Dir(path))
	if stuck, err = d.examineLock(ctx, path); err != nil || stuck {
		return stuck, err
	}
	return false, d.examineSQLite(ctx, path)
}

func (d *doctor) examineDisk(dir string) {
	disk, err := diskOf(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		d.add(isNote, "disk", "kind and free space are not known on this system", "")
		return
	case err != nil:
		d.add(isNote, "disk", err.Error(), "")
		return
	}
	switch {
	case disk.network:
		d.add(isWrong, "file system", disk.kind+", over a network: its locks and its syncs cannot be relied on",
			"move the file to a local disk")
	case disk.volatile:
		d.add(isNote, "file system", disk.kind+": the file ends with the machine", "")
	default:
		d.add(isOK, "file system", cmp.Or(disk.kind, "local"), "")
	}
	if disk.free < spaceLow {
		d.add(isWrong, "free space", bytesText(disk.free), "make room: publishing fails when the disk is full")
		return
	}
	d.add(isOK, "free space", bytesText(disk.free), "")
}

// disk is what a file system is and has.
type disk struct {
	kind              string // "" when it is none of those that matter
	network, volatile bool
	free              int64
}

// examineLock waits for its turn to write: writers have theirs for milliseconds, and
// one that was frozen for as long as it is.
func (d *doctor) examineLock(ctx context.Context, path string) (stuck bool, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if _, err := os.Stat(path + ".lock"); errors.Is(err, fs.ErrNotExist) {
		d.add(isOK, "write lock", "free", "")
		return false, nil
	}
	lock, err := sqldb.OpenFileLock(path)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	short, stop := context.WithTimeout(ctx, frozenAfter)
	defer stop()
	switch err := lock.Lock(short); {
	case err == nil:
		lock.Unlock()
		d.add(isOK, "write lock", "free", "")
		return false, nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return false, err
	}
	d.add(isWrong, "write lock", fmt.Sprintf("held for over %s by %s", span(frozenAfter), lockHolder(path+".lock")),
		"nobody can publish or acknowledge until that process goes on or ends")
	return true, nil
}

// examineSQLite asks a connection that is set up as the engine's are.
func (d *doctor) examineSQLite(ctx context.Context, path string) error {
	db, err := sqldb.OpenSQLite(path, &sqldb.SQLiteOptions{NoCreate: true})
	if err != nil {
		return err
	}
	defer db.Close()
	version, err := ask(ctx, db, "select sqlite_version()")
	if err != nil {
		return err
	}
	d.add(isOK, "sqlite", version, "")
	for _, p := range []struct{ pragma, want, why string }{
		{"journal_mode", "wal", "readers and the writer would wait for each other"},
		{"synchronous", "2", "a power failure could take accepted events"},
	} {
		value, err := ask(ctx, db, "pragma "+p.pragma)
		switch {
		case err != nil:
			return err
		case value != p.want:
			d.add(isWrong, p.pragma, value+" (want "+p.want+")", p.why)
		case p.pragma == "synchronous":
			d.add(isOK, p.pragma, "full: every commit is synced to the disk", "")
		default:
			d.add(isOK, p.pragma, value, "")
		}
	}
	return nil
}

func ask(ctx context.Context, db *sql.DB, query string) (answer string, err error) {
	err = db.QueryRowContext(ctx, query).Scan(&answer)
	return answer, err
}
