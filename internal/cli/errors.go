package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitCheck  = 3 // a check did not hold
)

// usageError is a call that cannot be right whatever the engine holds.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// checkError is an answer of no: a lag above its limit, a broken promise.
type checkError struct{ text string }

func (e checkError) Error() string { return e.text }

// hint adds to an error what to do about it.
func hint(err error, what string) error { return fmt.Errorf("%w (%s)", err, what) }

func isNotFound(err error) bool { return errors.Is(err, driver.ErrNotFound) }

// usageArgs makes cobra's argument checks, which all count, usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("wrong number of arguments: %d (%s)", len(args), cmd.UseLine())
		}
		return nil
	}
}

// acknowledges are the commands for which it matters how much of stdout was read: they
// say so when their reader has gone. Others are cut short by head every day.
var acknowledges = map[string]bool{"sub": true, "pipe": true}

// report prints err as one line and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, syscall.EPIPE) || acknowledges[cmd.Name()] {
		a.say("%s", errorLine(cmd, err))
	}
	var usage usageError
	var check checkError
	switch {
	case errors.As(err, &usage), errors.Is(err, engine.ErrURL):
		return exitUsage
	case errors.As(err, &check):
		return exitCheck
	}
	return exitFailed
}

// errorLine is "deed: COMMAND: ERROR" without line breaks and control characters:
// an error may quote what somebody sent.
func errorLine(cmd *cobra.Command, err error) string {
	path := strings.Replace(cmd.CommandPath(), "deed ", "deed: ", 1)
	text := strings.TrimPrefix(err.Error(), "deed: ")
	text = strings.TrimPrefix(text, cmd.Name()+": ") // the library's operation may be called so too
	if errors.Is(err, syscall.EPIPE) {
		text = "stdout: closed by its reader"
	}
	return path + ": " + plain(strings.ReplaceAll(text, "\n", "; "))
}

// say writes one line to stderr.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// outputError names stdout in the error of a failed write.
type outputError struct{ err error }

func (e outputError) Error() string { return "stdout: " + e.err.Error() }
func (e outputError) Unwrap() error { return e.err }

// output is stdout with its errors named.
type output struct{ w io.Writer }

func (o output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		err = outputError{err}
	}
	return n, err
}

// interrupted reports whether err only says that the user ended the command.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
