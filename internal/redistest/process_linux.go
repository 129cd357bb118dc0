package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// bound ties a process's life to ours, and gives it a group for its children.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// killAll kills the process and its children, which would go on to write files.
func (p *process) killAll() { syscall.Kill(-p.pid(), syscall.SIGKILL) }

// freeze returns when the process stands still: the signal alone may take a moment.
func (p *process) freeze() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(poll) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
		if err != nil {
			return err
		}
		// The state follows the command's name, which is in parentheses.
		if state := stat[bytes.LastIndexByte(stat, ')')+1:]; bytes.HasPrefix(state, []byte(" T")) {
			return nil
		}
	}
	return errors.New("SIGSTOP did not stop it")
}

func (p *process) thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

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
