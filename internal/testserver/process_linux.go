package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// nobody is the number of the user and of the group that own nothing.
const nobody = 65534

// bound gives a process a group for its children. When we end it gets the signal,
// unless that is 0.
func bound(quit syscall.Signal, unprivileged bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: quit, Setpgid: true}
	if unprivileged && os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return attr
}

// give gives a file to nobody, where we are root.
func give(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, nobody, nobody)
}

// killAll kills the process and its children, which would go on to write files. Those
// of Postgres have groups of their own. While the process stands still none is added,
// and no number becomes another's.
func (p *process) killAll() {
	if len(p.children()) > 0 && stop(p.pid()) == nil {
		for _, child := range p.children() {
			syscall.Kill(child, syscall.SIGKILL)
		}
	}
	syscall.Kill(-p.pid(), syscall.SIGKILL)
}

// children returns the numbers of the process's children.
func (p *process) children() (pids []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.pid()))
	if err != nil {
		return nil // it has ended
	}
	for _, field := range bytes.Fields(text) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// freeze returns when the process and its children stand still.
func (p *process) freeze() error {
	err := stop(p.pid())
	for _, child := range p.children() {
		err = errors.Join(err, stop(child))
	}
	return err
}

// stop returns when a process stands still: the signal alone may take a moment.
func stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(poll) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return err
		}
		// The state follows the command's name, which is in parentheses.
		state := stat[bytes.LastIndexByte(stat, ')')+1:]
		if bytes.HasPrefix(state, []byte(" T")) || bytes.HasPrefix(state, []byte(" Z")) {
			return nil
		}
	}
	return fmt.Errorf("SIGSTOP did not stop process %d", pid)
}

func (p *process) thaw() error {
	for _, child := range p.children() {
		syscall.Kill(child, syscall.SIGCONT) // one that has ended meanwhile needs none
	}
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// keepPort lets nobody take the port of a server that is down, and clients be refused
// as before: a socket has the port and does not listen. It returns what gives it up.
func keepPort(port int) func() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	// What is left of the server's connections allows nothing else; whoever comes after
	// that asks for the same and must not get it.
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
	if err != nil {
		syscall.Close(fd)
		return nil
	}
	return func() { syscall.Close(fd) }
}
