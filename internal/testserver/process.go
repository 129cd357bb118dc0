package testserver

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one life of a server, with the children that work for it. It is always
// waited for.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when all have ended
}

// launch starts a server, what it says is added to the file log.
func launch(c Config, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	command := c.Command()
	p := &process{cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	// Behind a writer that is no file is a pipe, which the children have, too: waiting
	// for its end is waiting for them.
	said := struct{ io.Writer }{out}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.Dir, said, said
	p.cmd.SysProcAttr = bound(c.Quit, c.Nobody)
	started := make(chan error)
	go func() {
		// Linux ends a bound process with the thread that started it, so that this
		// thread has to last as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) kill() {
	select {
	case <-p.exited: // its number may be another's by now
	default:
		p.killAll()
		<-p.exited
	}
}

// end asks the process to end, and kills it when it does not.
func (p *process) end(signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		p.kill()
		return nil
	}
	p.thaw() // this and the next fail when it has ended
	p.cmd.Process.Signal(signal)
	select {
	case <-p.exited:
		return nil
	case <-time.After(Patience):
		p.kill()
		return fmt.Errorf("%v did not end it in %v", signal, Patience)
	}
}
