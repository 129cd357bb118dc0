//go:build linux

package lossfs

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or directory as the kernel sees it: what the directory seen has, and
// the platter hears of every change.
type node struct {
	*fs.LoopbackNode
	disk *platter
}

// WrapChild makes nodes of all that is looked up or made.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.disk}
}

func (n *node) path(name string) string { return filepath.Join(n.disk.seen, n.Path(n.Root()), name) }

// Create makes and opens a file.
func (n *node) Create(
	ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut,
) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	flags &^= syscall.O_DIRECT // the buffers here are not aligned
	there := syscall.Lstat(n.path(name), &syscall.Stat_t{}) == nil
	child, file, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	h, errno := n.disk.open(n.path(name), file)
	if errno == 0 && !there {
		var st syscall.Stat_t
		errno = fs.ToErrno(syscall.Lstat(n.path(name), &st))
		n.disk.made(n.path(name), &st)
	}
	return child, h, 0, errno
}

// Open opens a file.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		n.disk.truncated(n.path(""), 0)
	}
	file, _, errno := n.LoopbackNode.Open(ctx, flags&^syscall.O_DIRECT)
	if errno != 0 {
		return nil, 0, errno
	}
	h, errno := n.disk.open(n.path(""), file)
	return h, 0, errno
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	if errno != 0 {
		return nil, errno
	}
	var st syscall.Stat_t
	errno = fs.ToErrno(syscall.Lstat(n.path(name), &st))
	n.disk.made(n.path(name), &st)
	return child, errno
}

// Rmdir removes a directory.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	errno := n.LoopbackNode.Rmdir(ctx, name)
	if errno == 0 {
		n.disk.removed(n.path(name))
	}
	return errno
}

// Unlink removes a file.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	errno := n.LoopbackNode.Unlink(ctx, name)
	if errno == 0 {
		n.disk.removed(n.path(name))
	}
	return errno
}

// Rename renames a file or directory; exchanging two is refused.
func (n *node) Rename(
	ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32,
) syscall.Errno {
	to, ok := parent.(*node)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	errno := fs.ToErrno(syscall.Rename(n.path(name), to.path(newName)))
	if errno == 0 {
		n.disk.renamed(n.path(name), to.path(newName))
	}
	return errno
}

// Link gives a file another name.
func (n *node) Link(
	ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut,
) (*fs.Inode, syscall.Errno) {
	child, errno := n.LoopbackNode.Link(ctx, target, name, out)
	if errno != 0 {
		return nil, errno
	}
	var st syscall.Stat_t
	errno = fs.ToErrno(syscall.Lstat(n.path(name), &st))
	n.disk.linked(n.path(name), &st)
	return child, errno
}

// Symlink and Mknod are refused: the platter would not know of them.
func (*node) Symlink(context.Context, string, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Mknod is refused, as Symlink is.
func (*node) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Setattr changes a file's size, or what else is known of it.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if h, ok := f.(*handle); ok {
			h.truncated(int64(size))
		} else {
			n.disk.truncated(n.path(""), int64(size))
		}
	}
	if h, ok := f.(*handle); ok {
		f = h.file
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

// Fsync makes a file durable, and all names.
func (n *node) Fsync(_ context.Context, f fs.FileHandle, _ uint32) syscall.Errno {
	h, ok := f.(*handle)
	if !ok {
		return syscall.EBADF
	}
	return fs.ToErrno(n.disk.sync(h.reads))
}

// handle is an open file.
type handle struct {
	disk  *platter
	file  fs.FileHandle // what programs use
	reads *os.File      // the same one, for the platter
}

func (p *platter) open(path string, file fs.FileHandle) (*handle, syscall.Errno) {
	reads, err := os.Open(path)
	if err != nil {
		file.(fs.FileReleaser).Release(context.Background())
		return nil, fs.ToErrno(err)
	}
	return &handle{p, file, reads}, 0
}

// truncated notes what a change of the size to size takes from the file at path.
func (p *platter) truncated(path string, size int64) {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) == nil {
		p.wrote(&st, size, max(st.Size, size+1))
	}
}

func (h *handle) truncated(size int64) {
	if st, err := h.stat(); err == nil {
		h.disk.wrote(st, size, max(st.Size, size+1))
	}
}

func (h *handle) stat() (*syscall.Stat_t, error) {
	info, err := h.reads.Stat()
	if err != nil {
		return nil, err
	}
	return info.Sys().(*syscall.Stat_t), nil
}

// Write writes, unless the disk is full.
func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	st, err := h.stat()
	if err != nil {
		return 0, fs.ToErrno(err)
	}
	if off+int64(len(data)) > st.Size && !h.disk.room() {
		return 0, syscall.ENOSPC
	}
	n, errno := h.file.(fs.FileWriter).Write(ctx, data, off)
	h.disk.wrote(st, off, off+int64(n))
	return n, errno
}

// Allocate makes room in a file, or a hole.
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	st, err := h.stat()
	if err != nil {
		return fs.ToErrno(err)
	}
	if int64(off+size) > st.Size && !h.disk.room() {
		return syscall.ENOSPC
	}
	errno := h.file.(fs.FileAllocater).Allocate(ctx, off, size, mode)
	h.disk.wrote(st, int64(off), int64(off+size))
	return errno
}

// Read reads.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return h.file.(fs.FileReader).Read(ctx, dest, off)
}

// Getattr tells what is known of the file.
func (h *handle) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return h.file.(fs.FileGetattrer).Getattr(ctx, out)
}

// Flush is called when a program closes the file.
func (h *handle) Flush(ctx context.Context) syscall.Errno { return h.file.(fs.FileFlusher).Flush(ctx) }

// Release is called when the last program has closed it.
func (h *handle) Release(ctx context.Context) syscall.Errno {
	h.reads.Close()
	return h.file.(fs.FileReleaser).Release(ctx)
}

// OpendirHandle opens a directory.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	stream, errno := fs.NewLoopbackDirStream(n.path(""))
	if errno != 0 {
		return nil, 0, errno
	}
	return &dirHandle{n.disk, stream}, 0, 0
}

// dirHandle is an open directory.
type dirHandle struct {
	disk   *platter
	stream fs.DirStream
}

// Readdirent returns the next entry, nil at the end.
func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	return h.stream.(fs.FileReaddirenter).Readdirent(ctx)
}

// Seekdir goes to an entry.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	return h.stream.(fs.FileSeekdirer).Seekdir(ctx, off)
}

// Fsyncdir makes names durable.
func (h *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	return fs.ToErrno(h.disk.sync(nil))
}

// Releasedir is called when the program has closed the directory.
func (h *dirHandle) Releasedir(context.Context, uint32) { h.stream.Close() }
