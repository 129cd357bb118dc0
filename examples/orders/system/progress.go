package system

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// progress shows how far we are: a bar on a terminal, a line every quarter
// elsewhere. It belongs to one goroutine.
type progress struct {
	out      io.Writer
	terminal bool
	what     string
	total    int
	done     int
}

func newProgress(out io.Writer, what string, total int) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), what: what, total: total}
}

const (
	barWidth  = 40
	eraseLine = "\r\033[K"
)

// set shows that done of the total are done.
func (p *progress) set(done int) {
	quarter := p.done*4/p.total != done*4/p.total
	p.done = done
	switch {
	case p.terminal:
		p.draw()
	case quarter:
		say(p.out, "%s %d of %d", p.what, done, p.total)
	}
}

// say writes a line of the story above the bar.
func (p *progress) say(format string, args ...any) {
	p.clear()
	say(p.out, format, args...)
	if p.terminal {
		p.draw()
	}
}

func (p *progress) draw() {
	full := barWidth * p.done / p.total
	fmt.Fprintf(p.out, "%s  %s%s %d of %d %s", eraseLine,
		strings.Repeat("█", full), strings.Repeat("░", barWidth-full), p.done, p.total, p.what)
}

// clear takes the bar off the screen.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, eraseLine)
	}
}
