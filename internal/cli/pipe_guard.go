package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// guardCommand is what a deed that guards another one is called with.
const guardCommand = "pipe-guard"

// guard is a process that outlives a deed pipe which is killed, and then kills the
// commands that were running and all that these had started. Else they would go on
// while another member handles their events again.
type guard struct {
	cmd   *exec.Cmd
	tells *os.File // at its end the guard does its work
}

// startGuard returns nil where processes have no groups that could be killed.
func startGuard() (*guard, error) {
	if !hasGroups {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	hears, tells, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer hears.Close()
	g := &guard{cmd: exec.Command(self, guardCommand), tells: tells}
	g.cmd.Stdin = hears
	ownGroup(g.cmd)
	if err := g.cmd.Start(); err != nil {
		tells.Close()
		return nil, fmt.Errorf("start the guard of the commands: %w", err)
	}
	return g, nil
}

// started and ended tell about a command, by the number of its group. A guard that
// somebody killed is missed only if deed is killed too.
func (g *guard) started(p *os.Process) { g.tell('+', p) }
func (g *guard) ended(p *os.Process)   { g.tell('-', p) }

func (g *guard) tell(what byte, p *os.Process) {
	if g != nil {
		fmt.Fprintf(g.tells, "%c%d\n", what, p.Pid)
	}
}

func (g *guard) close() {
	if g != nil {
		g.tells.Close()
		g.cmd.Wait()
	}
}

// guardGroups is the guard's whole life.
func guardGroups(tells io.Reader) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	running := make(map[int]bool)
	lines := bufio.NewScanner(tells)
	for lines.Scan() {
		text := lines.Text()
		pid, err := strconv.Atoi(text[min(1, len(text)):])
		if err != nil || pid <= 1 {
			return exitFailed
		}
		if text[0] == '+' {
			running[pid] = true
		} else {
			delete(running, pid)
		}
	}
	for pid := range running {
		if p, err := os.FindProcess(pid); err == nil {
			signalGroup(p, syscall.SIGKILL) // one that has ended needs none
		}
	}
	return exitDone
}
