//go:build linux

package lossfs

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serve mounts the disk that lies in dir on dir/disk and does what in says, a command a
// line, each answered on out, until in ends.
func serve(dir string, in io.Reader, out io.Writer) error {
	for _, d := range []string{"seen", "kept", "disk"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	p := newPlatter(filepath.Join(dir, "seen"), filepath.Join(dir, "kept"))
	m := &mount{platter: p, at: filepath.Join(dir, "disk")}
	if err := m.up(); err != nil {
		return err
	}
	defer m.down()
	fmt.Fprintln(out, "ok")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := m.obey(lines.Text()); err != nil {
			fmt.Fprintln(out, err)
			continue
		}
		fmt.Fprintln(out, "ok")
	}
	return lines.Err()
}

type mount struct {
	platter *platter
	at      string
	server  *fuse.Server
}

func (m *mount) obey(line string) error {
	var seed uint64
	var on bool
	if n, _ := fmt.Sscanf(line, "cut %d %t", &seed, &on); n == 2 {
		if err := m.down(); err != nil {
			return err
		}
		if err := m.platter.cut(rand.New(rand.NewPCG(seed, 2)), on); err != nil {
			return err
		}
		return m.up()
	}
	if n, _ := fmt.Sscanf(line, "fill %t", &on); n == 1 {
		m.platter.mu.Lock()
		defer m.platter.mu.Unlock()
		m.platter.full = on
		return nil
	}
	return fmt.Errorf("unknown command %q", line)
}

func (m *mount) up() error {
	root := &fs.LoopbackRoot{Path: m.platter.seen}
	top := &node{&fs.LoopbackNode{RootData: root}, m.platter}
	root.RootNode = top
	wait := time.Second
	var err error
	m.server, err = fs.Mount(m.at, top, &fs.Options{
		AttrTimeout: &wait, EntryTimeout: &wait,
		MountOptions: fuse.MountOptions{
			AllowOther: true, DirectMountStrict: true, FsName: "lossfs", Name: "lossfs", DisableXAttrs: true,
		},
	})
	return err
}

// down takes the file system away.
func (m *mount) down() error {
	if err := syscall.Unmount(m.at, syscall.MNT_DETACH); err != nil {
		return err
	}
	m.server.Wait() // until the last file of it is closed
	return nil
}
