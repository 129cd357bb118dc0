package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/deedgo/deed"
)

const (
	// exitReject is the command's way to say that an event can never be handled:
	// EX_DATAERR of sysexits.h.
	exitReject = 65
	// killDelay is how long a command that was told to terminate may take, and how
	// long its output is awaited when it left a process behind that holds it open.
	killDelay = 2 * time.Second
)

// pipeCommand is what to run for events.
type pipeCommand struct {
	path    string
	args    []string // as given, args[0] included
	stderr  io.Writer
	maxLine int
	guard   *guard
}

// run runs the command for one event.
func (c *pipeCommand) run(ctx context.Context, e deed.Received[[]byte]) ([]byte, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	out := &collector{maxLine: c.maxLine, full: stop}
	said := &tail{to: c.stderr}
	cmd := exec.CommandContext(running, c.path, c.args[1:]...)
	cmd.Args[0] = c.args[0]
	cmd.Stdin = io.MultiReader(bytes.NewReader(e.Data), lineEnd(e.Data))
	cmd.Stdout, cmd.Stderr = out, said
	cmd.Env = append(c.guard.environ(), eventVariables(e)...)
	cmd.Cancel = func() error { return signalGroup(cmd.Process, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	ownGroup(cmd)
	err := cmd.Start()
	if err != nil {
		return nil, startFailure(err)
	}
	c.guard.started(cmd.Process)
	err = cmd.Wait()
	signalGroup(cmd.Process, syscall.SIGKILL) // what it left behind
	c.guard.ended(cmd.Process)
	if out.problem != nil {
		return nil, out.problem
	}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return out.buf, nil
	case ctx.Err() != nil:
		return nil, endedBy(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == exitReject:
		if reason := said.lastLine(); reason != "" {
			return nil, refusal{reason}
		}
		return nil, refusef("%s: %v", c.args[0], exit)
	}
	return nil, fmt.Errorf("%s: %w%s", c.args[0], err, said.text())
}

func (c *pipeCommand) close() {}

// endedBy says why a command was made to end.
func endedBy(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return errors.New("the command took longer than --timeout, and was ended")
	}
	return fmt.Errorf("the command was ended: %w", cause)
}

// startFailure refuses an event whose attributes no environment can hold.
func startFailure(err error) error {
	if errors.Is(err, syscall.E2BIG) || strings.Contains(err.Error(), "NUL") {
		return refusef("the event's attributes do not fit into an environment: %v", err)
	}
	return err
}

// lineEnd is what is missing for data to end its line.
func lineEnd(data []byte) io.Reader {
	if len(data) > 0 && data[len(data)-1] == '\n' {
		return strings.NewReader("")
	}
	return strings.NewReader("\n")
}

// eventVariables tells a command about its event. All are there, maybe empty, so that
// none comes from outside.
func eventVariables(e deed.Received[[]byte]) []string {
	return append(topicVariables(e.Delivery),
		"DEED_ID="+e.ID,
		"DEED_TYPE="+e.Type,
		"DEED_SOURCE="+e.Source,
		"DEED_KEY="+e.Key,
		"DEED_SUBJECT="+e.Subject,
		"DEED_TIME="+e.Time.UTC().Format(time.RFC3339Nano),
		"DEED_POSITION="+e.Position,
		"DEED_ATTEMPT="+strconv.Itoa(e.Attempt),
		"DEED_TRACEPARENT="+e.TraceParent,
	)
}

// topicVariables is what stays the same for all events.
func topicVariables(d deed.Delivery) []string {
	return []string{"DEED_TOPIC=" + d.Topic, "DEED_GROUP=" + d.Group}
}
