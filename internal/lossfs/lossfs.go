package lossfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// serveEnv names the directory of the disk to a process that is to serve it.
const serveEnv = "DEED_LOSSFS"

// Serve turns this process into one that serves a disk when its environment says so,
// and does not return then. Otherwise it does nothing. Call it first in main.
func Serve() {
	dir := os.Getenv(serveEnv)
	if dir == "" {
		return
	}
	if err := serve(dir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lossfs:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Disk is a mounted file system that forgets. Its methods are safe for concurrent use.
type Disk struct {
	dir string
	cmd *exec.Cmd

	mu      sync.Mutex
	in      io.WriteCloser
	answers *bufio.Scanner
	errors  strings.Builder
}

// Mount mounts a new disk in dir, which must be empty. Command is a program that calls
// [Serve], with its arguments. The error is [errors.ErrUnsupported] where the machine
// does not let it.
func Mount(dir string, command []string) (*Disk, error) {
	if err := supported(); err != nil {
		return nil, fmt.Errorf("lossfs: %w: %w", errors.ErrUnsupported, err)
	}
	d := &Disk{dir: dir, cmd: exec.Command(command[0], command[1:]...)}
	d.cmd.Env = append(os.Environ(), serveEnv+"="+dir)
	d.cmd.Stderr = &d.errors
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.answers = bufio.NewScanner(out)
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lossfs: %w", err)
	}
	if err := d.answer(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Path is where the file system is.
func (d *Disk) Path() string { return filepath.Join(d.dir, "disk") }

// Cut forgets what was not synced. Nobody may have a file of the disk open. The seed
// decides what of it is kept, by luck; where it tears, that may be any blocks of it.
func (d *Disk) Cut(seed uint64, tear bool) error { return d.do(fmt.Sprintf("cut %d %t", seed, tear)) }

// Fill makes the disk full, so that no file can grow, or empties it again.
func (d *Disk) Fill(full bool) error { return d.do(fmt.Sprintf("fill %t", full)) }

// Close unmounts the disk.
func (d *Disk) Close() error {
	d.in.Close()
	return d.cmd.Wait()
}

func (d *Disk) do(command string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := fmt.Fprintln(d.in, command); err != nil {
		return fmt.Errorf("lossfs: %w", err)
	}
	return d.answer()
}

func (d *Disk) answer() error {
	if !d.answers.Scan() {
		return fmt.Errorf("lossfs: the process that serves %s has ended: %s", d.dir, d.errors.String())
	}
	if said := d.answers.Text(); said != "ok" {
		return fmt.Errorf("lossfs: %s", said)
	}
	return nil
}
