package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/deedgo/deed"
)

const (
	// The pause before a command that ended is started again: doubled each time,
	// forgotten once it has answered.
	restartMin = 100 * time.Millisecond
	restartMax = 10 * time.Second
	// hintAfter is how long a line stays unanswered before the user hears about it.
	hintAfter = 10 * time.Second
)

// companion is a command that runs for many events, a line in and a line out for
// each. One event is in flight at a time.
type companion struct {
	pipeCommand
	env  []string
	say  func(error)
	proc *process // nil while none runs

	pause   time.Duration
	startAt time.Time
	hinted  bool
}

func newCompanion(c pipeCommand, d deed.Delivery, say func(error)) *companion {
	return &companion{pipeCommand: c, env: append(c.guard.environ(), topicVariables(d)...), say: say}
}

// run writes one line and waits for one.
func (c *companion) run(ctx context.Context, e deed.Received[[]byte]) ([]byte, error) {
	line := oneLine(bytes.TrimSpace(e.Data))
	if bytes.IndexByte(line, '\n') >= 0 {
		return nil, refusef("the data is no JSON and has several lines, so that it is no line for --keep-running")
	}
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	answer, err := c.ask(ctx, line)
	if err != nil {
		c.drop()
		return nil, err
	}
	c.pause = 0
	return answer, nil
}

func (c *companion) ask(ctx context.Context, line []byte) ([]byte, error) {
	p := c.proc
	defer context.AfterFunc(ctx, p.terminate)()
	if !c.hinted {
		hint := time.AfterFunc(hintAfter, func() {
			c.say(fmt.Errorf("%s has not answered a line for %s (does it read and flush line by line? --timeout ends the wait)",
				c.args[0], span(hintAfter)))
		})
		defer func() { c.hinted = !hint.Stop() }()
	}
	// A failed write shows in the end of the answers, too.
	p.stdin.Write(append(bytes.Clone(line), '\n'))
	got, ok := <-p.answers
	switch {
	case ctx.Err() != nil:
		return nil, endedBy(ctx)
	case !ok:
		return nil, fmt.Errorf("%s: %s%s", c.args[0], p.howEnded(), p.said.text())
	}
	return got.line, got.err
}

// ready starts the command unless it runs, after a pause if it has just ended.
func (c *companion) ready(ctx context.Context) error {
	if c.proc != nil {
		select {
		case _, more := <-c.proc.answers: // it has not been asked
			if more {
				c.say(fmt.Errorf("%s wrote more than one line about an event, and is started again", c.args[0]))
			}
			c.drop()
		default:
			return nil
		}
	}
	select {
	case <-time.After(time.Until(c.startAt)):
	case <-ctx.Done():
		return endedBy(ctx)
	}
	var err error
	c.proc, err = c.start()
	return err
}

// drop ends the process, whose lines cannot be trusted to be about the next event.
func (c *companion) drop() {
	c.proc.terminate()
	c.proc.wait()
	c.proc = nil
	c.pause = min(max(2*c.pause, restartMin), restartMax)
	c.startAt = time.Now().Add(c.pause)
}

// close lets the command end at the end of its input.
func (c *companion) close() {
	if c.proc == nil {
		return
	}
	c.proc.stdin.Close()
	late := time.AfterFunc(killDelay, c.proc.terminate)
	defer late.Stop()
	c.proc.wait()
}

// answer is a line that a process wrote, or why it is none.
type answer struct {
	line []byte
	err  error
}

// process is a running companion.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	said    *tail
	answers chan answer   // closed at the end of stdout
	quit    chan struct{} // closed by wait: nobody takes answers any more
	exited  chan struct{}
}

func (c *companion) start() (*process, error) {
	p := &process{
		cmd: exec.Command(c.path, c.args[1:]...), said: &tail{to: c.stderr},
		answers: make(chan answer), quit: make(chan struct{}), exited: make(chan struct{}),
	}
	p.cmd.Args[0] = c.args[0]
	p.cmd.Env, p.cmd.Stderr, p.cmd.WaitDelay = c.env, p.said, killDelay
	ownGroup(p.cmd)
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	c.guard.started(p.cmd.Process)
	go p.read(c.maxLine, c.guard)
	return p, nil
}

// read passes lines on until the end of the output, and then waits for the process,
// in this order because waiting closes the output.
func (p *process) read(most int, g *guard) {
	defer close(p.exited)
	defer func() {
		p.cmd.Wait()
		signalGroup(p.cmd.Process, syscall.SIGKILL) // what it left behind
		g.ended(p.cmd.Process)
	}()
	defer close(p.answers)
	in := bufio.NewReaderSize(p.stdout, 64<<10)
	for {
		line, err := boundedLine(in, most)
		if err != nil && !errors.As(err, &refusal{}) {
			return
		}
		select {
		case p.answers <- answer{line, err}:
		case <-p.quit:
		}
		if err != nil {
			return
		}
	}
}

// boundedLine reads a line without its end. What is not ended is none.
func boundedLine(in *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, bytes.TrimSuffix(part, []byte("\n"))...)
		if len(line) > most {
			return nil, tooLong(1, most)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// terminate makes the process end, gently at first.
func (p *process) terminate() {
	if p.hasEnded() {
		return
	}
	signalGroup(p.cmd.Process, syscall.SIGTERM)
	time.AfterFunc(killDelay, func() {
		if !p.hasEnded() {
			signalGroup(p.cmd.Process, syscall.SIGKILL)
			p.stdout.Close() // in case a process that has left the group holds it open
		}
	})
}

func (p *process) hasEnded() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// wait returns when the process has ended.
func (p *process) wait() {
	close(p.quit)
	<-p.exited
}

// howEnded says what a process did that answers no more.
func (p *process) howEnded() string {
	select {
	case <-p.exited:
		return "ended with " + p.cmd.ProcessState.String() + " before it answered"
	case <-time.After(killDelay):
		return "closed its stdout before it answered"
	}
}
