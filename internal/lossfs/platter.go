//go:build linux

package lossfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const block = 4096

// platter knows what is durable. Programs work on the directory seen; the directory
// kept has the durable contents, a file for each inode.
type platter struct {
	seen, kept string

	mu      sync.Mutex
	last    int
	inodes  map[uint64]*inode // by their numbers in seen
	names   map[string]*inode // durable, relative to seen
	pending []op              // not durable yet, in order
	full    bool
}

// inode is a file or directory.
type inode struct {
	id    int
	dir   bool
	dirty map[int64]bool // blocks that differ from what is kept
	stale bool           // what is kept has another size
	mode  fs.FileMode
	owner [2]int
}

// op changes the durable names.
type op func(names map[string]*inode)

func newPlatter(seen, kept string) *platter {
	return &platter{seen: seen, kept: kept, inodes: make(map[uint64]*inode), names: make(map[string]*inode)}
}

func (p *platter) rel(path string) string { return strings.TrimPrefix(path[len(p.seen):], "/") }

// made notes a new file or directory.
func (p *platter) made(path string, st *syscall.Stat_t) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	n := &inode{id: p.last, dir: st.Mode&syscall.S_IFMT == syscall.S_IFDIR, dirty: make(map[int64]bool)}
	p.inodes[st.Ino] = n
	name := p.rel(path)
	p.pending = append(p.pending, func(names map[string]*inode) { names[name] = n })
}

// linked notes another name of a file.
func (p *platter) linked(path string, st *syscall.Stat_t) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.inodes[st.Ino]
	if !ok {
		return
	}
	name := p.rel(path)
	p.pending = append(p.pending, func(names map[string]*inode) { names[name] = n })
}

// removed notes that a name is gone.
func (p *platter) removed(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.rel(path)
	p.pending = append(p.pending, func(names map[string]*inode) { delete(names, name) })
}

// renamed notes another name for a file, or for a directory and all in it.
func (p *platter) renamed(from, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from, to = p.rel(from), p.rel(to)
	p.pending = append(p.pending, func(names map[string]*inode) {
		moved := make(map[string]*inode)
		for name, n := range names {
			if name == from || strings.HasPrefix(name, from+"/") {
				moved[to+name[len(from):]] = n
				delete(names, name)
			}
		}
		for name, n := range moved {
			names[name] = n
		}
	})
}

// wrote notes that the bytes from off to end are new, or cut off.
func (p *platter) wrote(st *syscall.Stat_t, off, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.inodes[st.Ino]
	if !ok {
		return
	}
	n.stale = true
	for b := off / block; b*block < end; b++ {
		n.dirty[b] = true
	}
}

// room reports whether a write may go beyond the end of a file.
func (p *platter) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.full
}

// sync makes all names durable, and the contents of f unless it is nil.
func (p *platter) sync(f *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(len(p.pending))
	if f == nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	n, ok := p.inodes[info.Sys().(*syscall.Stat_t).Ino]
	if !ok {
		return nil
	}
	return p.keep(n, f, info.Size(), nil)
}

// settle makes the first count pending names durable.
func (p *platter) settle(count int) {
	for _, do := range p.pending[:count] {
		do(p.names)
	}
	p.pending = slices.Delete(p.pending, 0, count)
}

// keep copies the dirty blocks of f that chosen takes; nil takes all of them, and the
// size of f with them.
func (p *platter) keep(n *inode, f *os.File, size int64, chosen func(block int64) bool) error {
	if !n.stale {
		return nil
	}
	to, err := os.OpenFile(p.path(n), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	if chosen == nil {
		if err := to.Truncate(size); err != nil {
			return err
		}
	}
	buffer := make([]byte, block)
	for b := range n.dirty {
		if b*block >= size || chosen != nil && !chosen(b) {
			continue
		}
		got, err := f.ReadAt(buffer, b*block)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := to.WriteAt(buffer[:got], b*block); err != nil {
			return err
		}
	}
	clear(n.dirty)
	n.stale = false
	return nil
}

func (p *platter) path(n *inode) string { return filepath.Join(p.kept, strconv.Itoa(n.id)) }

// cut makes seen what it is after the power has come back. Nobody may use it.
func (p *platter) cut(rng *rand.Rand, tear bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := filepath.WalkDir(p.seen, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == p.seen {
			return err
		}
		return p.lose(rng, tear, path, d)
	})
	if err != nil {
		return err
	}
	p.settle(rng.IntN(len(p.pending) + 1))
	p.pending = nil
	return p.restore()
}

// lose keeps a part of what was not synced of a file.
func (p *platter) lose(rng *rand.Rand, tear bool, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	n, ok := p.inodes[st.Ino]
	if !ok {
		return nil
	}
	n.mode, n.owner = info.Mode(), [2]int{int(st.Uid), int(st.Gid)}
	if n.dir || !n.stale {
		return nil
	}
	how := rng.IntN(3)
	switch {
	case how == 0 || how == 1 && !tear:
		return nil // nothing of it
	case how == 1:
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return p.keep(n, f, info.Size(), func(int64) bool { return rng.IntN(2) == 0 })
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.keep(n, f, info.Size(), nil)
}

// restore makes seen anew from what is durable.
func (p *platter) restore() error {
	old, err := os.ReadDir(p.seen)
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(p.seen, e.Name())); err != nil {
			return err
		}
	}
	clear(p.inodes)
	names := make([]string, 0, len(p.names))
	for name := range p.names {
		names = append(names, name)
	}
	slices.Sort(names) // a directory before what is in it
	made := map[*inode]string{}
	for _, name := range names {
		n := p.names[name]
		var err error
		if other, ok := made[n]; ok {
			err = os.Link(filepath.Join(p.seen, other), filepath.Join(p.seen, name))
		} else {
			err = p.remake(name, n)
		}
		if err != nil {
			return err
		}
		made[n] = name
	}
	return nil
}

func (p *platter) remake(name string, n *inode) error {
	path := filepath.Join(p.seen, name)
	if n.dir {
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
	} else if err := p.refill(path, n); err != nil {
		return err
	}
	if n.mode != 0 {
		if err := errors.Join(os.Chown(path, n.owner[0], n.owner[1]), os.Chmod(path, n.mode.Perm())); err != nil {
			return err
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	n.dirty, n.stale = make(map[int64]bool), false
	p.inodes[info.Sys().(*syscall.Stat_t).Ino] = n
	return nil
}

// refill makes a file with what is kept of it, which may be nothing.
func (p *platter) refill(path string, n *inode) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := os.Open(p.path(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}
