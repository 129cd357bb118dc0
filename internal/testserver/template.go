package testserver

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Template is a data directory that takes long to make: it is made once in a test's
// process, and kept in a file without a name, which ends with the process.
type Template struct {
	Make func(home string) error // makes the directory "data" in a directory like Home's

	once    sync.Once
	archive *os.File // tar; its name is removed at once
	size    int64
	err     error
}

// Copy makes the directory data of a server, which is synced where it is to last. It may
// be called concurrently.
func (t *Template) Copy(data string, lasting bool) error {
	t.once.Do(func() {
		if t.err = t.make(); t.err != nil {
			t.err = fmt.Errorf("make a data directory: %w", t.err)
		}
	})
	if t.err != nil {
		return t.err
	}
	return unpack(tar.NewReader(io.NewSectionReader(t.archive, 0, t.size)), data, lasting)
}

func (t *Template) make() error {
	home, err := os.MkdirTemp("", "deed-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	if err := errors.Join(give(home), t.Make(home)); err != nil {
		return err
	}
	if t.archive, err = os.CreateTemp("", "deed-test-"); err != nil {
		return err
	}
	err = os.Remove(t.archive.Name())
	w := tar.NewWriter(t.archive)
	err = errors.Join(err, w.AddFS(os.DirFS(filepath.Join(home, "data"))), w.Close())
	if err == nil {
		t.size, err = t.archive.Seek(0, io.SeekEnd)
	}
	return err
}

// unpack writes an archive's files into a directory that is not there yet.
func unpack(r *tar.Reader, dir string, lasting bool) error {
	if err := place(dir, os.ModeDir|0o700, nil, lasting); err != nil {
		return err
	}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = place(filepath.Join(dir, h.Name), h.FileInfo().Mode(), r, lasting)
		}
		if err != nil {
			return err
		}
	}
}

// place makes a directory or a file, which is the server's.
func place(path string, mode os.FileMode, content io.Reader, lasting bool) error {
	if mode.IsDir() {
		if err := os.Mkdir(path, mode.Perm()); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return give(path)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil && lasting {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), give(path))
}
