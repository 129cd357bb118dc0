package deedsql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// fileWrites tells of the writes to a file by any process of this machine.
type fileWrites struct{ events *os.File }

// watchWrites fails where the system has no more watches to give, and in a bubble of
// testing/synctest, whose time stands still while the system is waited for.
func watchWrites(path string) (*fileWrites, error) {
	if err := realTime(); err != nil {
		return nil, err
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	const mask = syscall.IN_MODIFY | syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF
	if _, err := syscall.InotifyAddWatch(fd, path, mask); err != nil {
		events.Close()
		return nil, &os.PathError{Op: "inotify_add_watch", Path: path, Err: err}
	}
	return &fileWrites{events}, nil
}

// realTime returns an error when the clock is not the system's.
func realTime() error {
	var system syscall.Timeval
	if err := syscall.Gettimeofday(&system); err != nil {
		return os.NewSyscallError("gettimeofday", err)
	}
	if off := time.Since(time.Unix(system.Unix())); off.Abs() > time.Hour { // a bubble's began in the year 2000
		return fmt.Errorf("the clock is %v from the system's: %w", off, errors.ErrUnsupported)
	}
	return nil
}

// wait reports whether there was a write since the last call, and waits for one. An
// error says that no more will be told of: the file was removed, say.
func (w *fileWrites) wait(d time.Duration) (wrote bool, err error) {
	if err := w.events.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false, err
	}
	var events [64 * syscall.SizeofInotifyEvent]byte // no names, so all are of one size
	n, err := w.events.Read(events[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for at := 0; at < n; at += syscall.SizeofInotifyEvent {
		if mask := binary.NativeEndian.Uint32(events[at+4:]); mask != syscall.IN_MODIFY {
			return true, fmt.Errorf("inotify event %#x", mask)
		}
	}
	return true, nil
}

// close ends a wait that is under way.
func (w *fileWrites) close() { w.events.Close() }
