package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (user, process *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
	process, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return user, process
}

// A bar ends with the work, whether that was as much as was expected or not.
func TestBarsEnd(t *testing.T) {
	user, process := openTerminal(t)
	shown := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(user) // ends with an error when the process's end is closed
		shown <- string(text)
	}()
	a := &app{stderr: process}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, done := range []int64{0, 7, 10, 12} {
			for _, complete := range []bool{true, false} {
				c := a.count("redriving", 10)
				c.set(done, "")
				c.done(complete)
			}
		}
		input, err := os.Open("progress.go")
		if err != nil {
			t.Error(err)
			return
		}
		defer input.Close()
		w := a.watch(input)
		if _, err := io.CopyN(io.Discard, w, 10); err != nil {
			t.Error(err)
		}
		w.done(true)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("a bar does not end")
	}
	process.Close()
	if text := <-shown; !strings.Contains(text, "redriving ") || !strings.Contains(text, "publishing ") {
		t.Errorf("the terminal shows %q", text)
	}
}
