package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/deedgo/deed"
)

// linePublisher makes events of lines.
type linePublisher struct {
	bus      *deed.Bus
	topic    *deed.Topic
	typeName string
}

// publish publishes the lines about e. Their source is the input's, since its id is
// one of a kind only together with its source; correlation, causation and trace come
// from ctx, the handler's.
func (p *linePublisher) publish(ctx context.Context, e deed.Received[[]byte], lines []byte) error {
	var drafts []deed.Draft
	number := 0
	for line := range bytes.SplitSeq(lines, []byte("\n")) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		drafts = append(drafts, deed.NewDraft(p.topic, deed.Event{
			ID: e.ID + "/" + e.Group + "/" + strconv.Itoa(number), Source: e.Source, Type: p.typeName, Version: 1,
			Key: e.Key, ContentType: contentTypeOf(line), Data: line,
		}))
		if len(drafts) == publishEvents { // what a million short lines take in memory is bounded
			if err := p.bus.Publish(ctx, drafts...); err != nil {
				return err
			}
			drafts = drafts[:0]
		}
	}
	return p.bus.Publish(ctx, drafts...)
}

func contentTypeOf(line []byte) string {
	switch {
	case json.Valid(line):
		return "application/json"
	case utf8.Valid(line):
		return "text/plain"
	default:
		return "application/octet-stream"
	}
}

// lineOutput writes the lines about each event in one piece.
type lineOutput struct {
	mu  sync.Mutex
	out io.Writer
}

func (o *lineOutput) write(_ context.Context, _ deed.Received[[]byte], lines []byte) error {
	if lines[len(lines)-1] != '\n' {
		lines = append(lines, '\n')
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.out.Write(lines)
	return err
}

// maxOutput bounds what a command may write about one event: it is kept until the
// command has ended well.
const maxOutput = 16 << 20

// collector keeps what a command writes, within bounds. Beyond them it keeps nothing
// more and calls full.
type collector struct {
	maxLine int
	full    func()

	buf     []byte
	line    int // bytes of the line that is not complete
	lines   int // complete ones
	problem error
}

func (c *collector) Write(p []byte) (int, error) {
	if c.problem == nil {
		if c.problem = c.admit(p); c.problem != nil {
			c.full()
		} else {
			c.buf = append(c.buf, p...)
		}
	}
	return len(p), nil
}

func (c *collector) admit(p []byte) error {
	if len(c.buf)+len(p) > maxOutput {
		return refusef("the command wrote more than %s bytes about one event", comma(maxOutput))
	}
	for len(p) > 0 {
		n, more := bytes.IndexByte(p, '\n'), true
		if n < 0 {
			n, more = len(p), false
		}
		if c.line+n > c.maxLine {
			return tooLong(c.lines+1, c.maxLine)
		}
		if !more {
			c.line += n
			break
		}
		c.line = 0
		c.lines++
		p = p[n+1:]
	}
	return nil
}

func tooLong(line, most int) error {
	return refusef("line %d of the command's output is longer than %s bytes", line, comma(int64(most)))
}

// tail passes stderr on and remembers its end. A stderr that cannot be written to is
// no failure of the command.
type tail struct {
	to io.Writer

	mu  sync.Mutex
	end []byte
}

const tailBytes = 1 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.to.Write(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if over := len(t.end) - tailBytes; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(p), nil
}

// text returns what is remembered, with a colon before it, or nothing.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if end := bytes.TrimSpace(t.end); len(end) > 0 {
		return ": " + string(bytes.ToValidUTF8(end, []byte("?")))
	}
	return ""
}

// lastLine returns the last line that is not empty.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := bytes.TrimSpace(t.end)
	return string(bytes.ToValidUTF8(end[bytes.LastIndexByte(end, '\n')+1:], []byte("?")))
}
