package cli

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	readBuffer = 256 << 10
	chunkLines = 1024
	chunkBytes = 1 << 20
	queueDepth = 4 // chunks read and not yet published
)

// chunk is a run of consecutive lines on its way through pub. It is read by one
// goroutine, parsed by another and published by a third; ready hands it over.
type chunk struct {
	buf   []byte
	lines []line
	ready chan struct{}

	parsed
}

// line is a piece of a chunk's buffer.
type line struct {
	number     int64
	start, end int
	tooLong    bool
}

// lineReader cuts its input into chunks of lines. However long a line is, no more
// of it than max bytes is held.
type lineReader struct {
	br     *bufio.Reader
	max    int
	number int64
}

func newLineReader(r io.Reader, max int) *lineReader {
	return &lineReader{br: bufio.NewReaderSize(r, readBuffer), max: max}
}

// next returns the lines that can be had without waiting, at least one, or waits
// for one. At the end of the input it returns io.EOF, with a last chunk or none.
func (r *lineReader) next() (*chunk, error) {
	c := &chunk{ready: make(chan struct{})}
	for {
		err := r.line(c)
		if err != nil {
			return c, err
		}
		if len(c.lines) == 0 {
			continue // blank
		}
		if len(c.lines) >= chunkLines || len(c.buf) >= chunkBytes || r.wouldWait() {
			return c, nil
		}
	}
}

// wouldWait reports whether no whole line is buffered, so that an event which is
// there is not held back by one that may take hours to come.
func (r *lineReader) wouldWait() bool {
	rest, _ := r.br.Peek(r.br.Buffered())
	return bytes.IndexByte(rest, '\n') < 0
}

// line appends one line to c, unless it is blank.
func (r *lineReader) line(c *chunk) error {
	r.number++
	l := line{number: r.number, start: len(c.buf)}
	for {
		part, err := r.br.ReadSlice('\n')
		switch {
		case l.tooLong:
		case len(c.buf)-l.start+len(part) > r.max+len("\r\n"):
			l.tooLong = true
			c.buf = c.buf[:l.start]
		default:
			c.buf = append(c.buf, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if l.end = len(c.buf); l.number == 1 && bytes.HasPrefix(c.buf, byteOrderMark) {
			l.start += len(byteOrderMark)
		}
		if l.tooLong || len(bytes.TrimSpace(c.buf[l.start:l.end])) > 0 {
			c.lines = append(c.lines, l)
		}
		return err
	}
}

// byteOrderMark is what editors of one operating system put before UTF-8 text.
var byteOrderMark = []byte("\xef\xbb\xbf")
