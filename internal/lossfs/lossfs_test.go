package lossfs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/deedgo/deed/internal/lossfs"
	"github.com/deedgo/deed/internal/testenv"
)

func TestMain(m *testing.M) {
	lossfs.Serve()
	os.Exit(m.Run())
}

func mount(t *testing.T) *lossfs.Disk {
	t.Helper()
	d, err := lossfs.Mount(t.TempDir(), []string{os.Args[0]})
	if errors.Is(err, errors.ErrUnsupported) {
		testenv.Require(t, "root on Linux with /dev/fuse", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	must(t, err)
	return f
}

func write(t *testing.T, f *os.File, off int64, what byte, n int) {
	t.Helper()
	_, err := f.WriteAt(bytes.Repeat([]byte{what}, n), off)
	must(t, err)
}

// What was synced is there after every cut, and of the rest each cut keeps what it
// likes: nothing, everything or some blocks.
func TestCutForgetsWhatWasNotSynced(t *testing.T) {
	d := mount(t)
	path := filepath.Join(d.Path(), "f")
	outcomes := map[string]int{}
	for seed := range uint64(30) {
		f := open(t, path)
		must(t, f.Truncate(0))
		write(t, f, 0, 'a', 3*4096)
		must(t, f.Sync())
		write(t, f, 4096, 'b', 4*4096)
		must(t, f.Close())
		must(t, d.Cut(seed, true))
		got, err := os.ReadFile(path)
		must(t, err)
		if len(got) < 3*4096 || !bytes.Equal(got[:4096], bytes.Repeat([]byte{'a'}, 4096)) {
			t.Fatalf("seed %d: of what was synced %d bytes are left", seed, len(got))
		}
		switch n := bytes.Count(got, []byte{'b'}); {
		case n == 0:
			outcomes["nothing"]++
		case n == 4*4096:
			outcomes["everything"]++
		case n%4096 == 0:
			outcomes["some"]++
		default:
			t.Errorf("seed %d: %d bytes are left, no number of blocks", seed, n)
		}
	}
	if len(outcomes) != 3 {
		t.Errorf("cuts came to %v, want nothing, everything and some", outcomes)
	}
}

func TestCutForgetsNames(t *testing.T) {
	d := mount(t)
	dir := filepath.Join(d.Path(), "dir")
	kept, lost := 0, 0
	for seed := range uint64(10) {
		must(t, os.RemoveAll(dir))
		must(t, os.Mkdir(dir, 0o750))
		f := open(t, filepath.Join(dir, "old"))
		write(t, f, 0, 'x', 10)
		must(t, f.Sync())
		must(t, f.Close())
		must(t, os.Rename(filepath.Join(dir, "old"), filepath.Join(dir, "new")))
		must(t, d.Cut(seed, false))
		_, before := os.Stat(filepath.Join(dir, "old"))
		info, after := os.Stat(filepath.Join(dir, "new"))
		switch {
		case before == nil && after != nil:
			lost++
		case before != nil && after == nil && info.Size() == 10 && info.Mode().Perm() == 0o640:
			kept++
		default:
			t.Fatalf("seed %d: old %v, new %v", seed, before, after)
		}
	}
	if kept == 0 || lost == 0 {
		t.Errorf("a rename was kept %d times and lost %d times, want both", kept, lost)
	}
	must(t, os.Rename(dir, dir+"2"))
	top, err := os.Open(d.Path())
	must(t, err)
	must(t, top.Sync())
	must(t, top.Close())
	must(t, d.Cut(1, false))
	if _, err := os.Stat(dir + "2"); err != nil {
		t.Errorf("a rename of a directory, synced: %v", err)
	}
}

// A file that shrank and grew again has zeros between, whether or not that was synced.
func TestShrinking(t *testing.T) {
	d := mount(t)
	path := filepath.Join(d.Path(), "f")
	f := open(t, path)
	write(t, f, 0, 'a', 20_000)
	must(t, f.Sync())
	must(t, f.Truncate(5_000))
	must(t, f.Truncate(20_000))
	must(t, f.Sync())
	must(t, f.Close())
	must(t, d.Cut(1, true))
	got, err := os.ReadFile(path)
	must(t, err)
	if want := append(bytes.Repeat([]byte{'a'}, 5_000), make([]byte, 15_000)...); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %d of them a", len(got), bytes.Count(got, []byte{'a'}))
	}
}

func TestFull(t *testing.T) {
	d := mount(t)
	f := open(t, filepath.Join(d.Path(), "f"))
	defer f.Close()
	write(t, f, 0, 'a', 5_000)
	must(t, d.Fill(true))
	if _, err := f.WriteAt([]byte("beyond"), 5_000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write beyond the end of a file on a full disk: %v", err)
	}
	write(t, f, 0, 'b', 5_000)
	must(t, d.Fill(false))
	write(t, f, 5_000, 'c', 5_000)
}

// A file that got another name and lost its first, as a log that is put in place, has one
// of them or both after a cut, and its contents.
func TestCutForgetsLinks(t *testing.T) {
	d := mount(t)
	first, second := filepath.Join(d.Path(), "first"), filepath.Join(d.Path(), "second")
	outcomes := map[string]int{}
	for seed := range uint64(30) {
		os.Remove(first)
		os.Remove(second)
		f := open(t, first)
		write(t, f, 0, 'x', 10)
		must(t, f.Sync())
		must(t, os.Link(first, second))
		write(t, f, 10, 'y', 10)
		must(t, os.Remove(first))
		must(t, f.Close())
		must(t, d.Cut(seed, false))
		names := ""
		for _, path := range []string{first, second} {
			text, err := os.ReadFile(path)
			if err == nil {
				names += filepath.Base(path) + " "
			}
			if err == nil && !bytes.HasPrefix(text, bytes.Repeat([]byte{'x'}, 10)) {
				t.Errorf("seed %d: %s has %q", seed, path, text)
			}
		}
		outcomes[names]++
		if names == "first second " { // they are one file
			f := open(t, first)
			write(t, f, 0, 'z', 1)
			must(t, f.Close())
			if text, err := os.ReadFile(second); err != nil || text[0] != 'z' {
				t.Errorf("seed %d: the second name has %q, %v", seed, text, err)
			}
		}
	}
	if len(outcomes) != 3 || outcomes[""] > 0 {
		t.Errorf("the names left were %v, want the first, the second and both", outcomes)
	}
}

func TestRefusals(t *testing.T) {
	d := mount(t)
	f := open(t, filepath.Join(d.Path(), "f"))
	must(t, f.Close())
	if err := os.Symlink(f.Name(), f.Name()+"3"); !errors.Is(err, syscall.EPERM) {
		t.Errorf("a symbolic link: %v", err)
	}
}
