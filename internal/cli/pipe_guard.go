package cli

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// guardCommand is what a deed that guards another one is called with.
const guardCommand = "pipe-guard"

// guardVariable marks the commands of one deed pipe in their environment, by which the
// guard finds those that it was not told of yet.
const guardVariable = "DEED_PIPE"

// cleanEnd tells a guard that nothing runs any more.
const cleanEnd = "end"

// guard is a process that outlives a deed pipe which is killed, and then kills the
// commands that were running and all that these had started. Else they would go on
// while another member handles their events again.
type guard struct {
	cmd   *exec.Cmd
	mark  string   // guardVariable's value
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
	mark := rand.Text()
	g := &guard{cmd: exec.Command(self, guardCommand, mark), mark: mark, tells: tells}
	g.cmd.Stdin = hears
	g.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { // of a deed pipe that runs this one
		return strings.HasPrefix(v, guardVariable+"=")
	})
	ownGroup(g.cmd)
	if err := g.cmd.Start(); err != nil {
		tells.Close()
		return nil, fmt.Errorf("start the guard of the commands: %w", err)
	}
	return g, nil
}

// environ returns the environment of commands, marked.
func (g *guard) environ() []string {
	if g == nil {
		return os.Environ()
	}
	return append(os.Environ(), guardVariable+"="+g.mark)
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
		fmt.Fprintln(g.tells, cleanEnd)
		g.tells.Close()
		g.cmd.Wait()
	}
}

// runGuard is the guard's whole life.
func runGuard(mark string) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return guardGroups(os.Stdin, mark)
}

// guardGroups kills what runs when tells ends.
func guardGroups(tells io.Reader, mark string) int {
	running := make(map[int]bool)
	lines := bufio.NewScanner(tells)
	for lines.Scan() {
		text := lines.Text()
		if text == cleanEnd {
			return exitDone
		}
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
	killMarked(guardVariable + "=" + mark)
	return exitDone
}
