package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deedgo/deed"
)

// parsed is what became of a chunk's lines: drafts with the numbers of the lines
// they come from, and the lines that are bad.
type parsed struct {
	drafts  []deed.Draft
	numbers []int64
	bytes   int
	bad     []badLine
}

type badLine struct {
	number int64
	err    error
}

func (b badLine) Error() string { return fmt.Sprintf("line %d: %v", b.number, b.err) }

// parser turns lines into drafts.
type parser struct {
	topic         *deed.Topic
	typeName      string
	source        string
	key, id, time *pointer // nil when the flag is absent
	notBefore     *pointer
	notBeforeAt   time.Time // when it is the same for every line
	cloudEvents   bool
	maxBytes      int
	stopAtBad     bool
}

// maxLine is how long a line may be: a CloudEvents document holds its data, maybe
// in base64, and the attributes.
func (p *parser) maxLine() int {
	if p.cloudEvents {
		return 2*p.maxBytes + 64<<10
	}
	return p.maxBytes
}

// parse fills c.parsed. With stopAtBad it ends at the first bad line.
func (p *parser) parse(c *chunk) {
	defer close(c.ready)
	c.drafts = make([]deed.Draft, 0, len(c.lines))
	c.numbers = make([]int64, 0, len(c.lines))
	for _, l := range c.lines {
		d, err := p.draft(c.buf[l.start:l.end], l.tooLong)
		if err != nil {
			c.bad = append(c.bad, badLine{l.number, err})
			if p.stopAtBad {
				return
			}
			continue
		}
		c.drafts = append(c.drafts, d)
		c.numbers = append(c.numbers, l.number)
		c.bytes += len(d.Data)
	}
}

func (p *parser) draft(text []byte, tooLong bool) (deed.Draft, error) {
	if tooLong {
		return deed.Draft{}, fmt.Errorf("longer than %s bytes", comma(int64(p.maxLine())))
	}
	text = bytes.TrimSpace(text)
	if !utf8.Valid(text) {
		return deed.Draft{}, errors.New("not UTF-8 text")
	}
	var e deed.Event
	var err error
	if p.cloudEvents {
		err = json.Unmarshal(text, &e)
	} else {
		e, err = p.event(text)
	}
	if err != nil {
		return deed.Draft{}, err
	}
	if len(e.Data) > p.maxBytes {
		return deed.Draft{}, fmt.Errorf("%s bytes of data (at most %s)",
			comma(int64(len(e.Data))), comma(int64(p.maxBytes)))
	}
	// Preparing here finds what publishing would refuse while the line's number is
	// known, and does so on all cores.
	if e, err = deed.Prepare(context.Background(), deed.NewDraft(p.topic, e), p.source); err != nil {
		return deed.Draft{}, err
	}
	d := deed.NewDraft(p.topic, e)
	d.NotBefore = p.notBeforeAt
	if p.notBefore != nil {
		if d.NotBefore, err = p.notBefore.instant(text); err != nil {
			return deed.Draft{}, err
		}
	}
	return d, nil
}

// parseNotBefore reads the flag's PTR or =TIME, in which +90s is after now.
func (p *parser) parseNotBefore(s string, now time.Time) error {
	ptr, err := parsePointer("not-before", s)
	if err != nil {
		return err
	}
	if !ptr.literal {
		p.notBefore = &ptr
		return nil
	}
	if after, ok := strings.CutPrefix(ptr.text, "+"); ok {
		d, err := parseSpan(after)
		if err != nil {
			return usagef("--not-before %q: want a span like =+90s or =+7d", s)
		}
		p.notBeforeAt = now.Add(d)
		return nil
	}
	if p.notBeforeAt, err = time.Parse(time.RFC3339Nano, ptr.text); err != nil {
		return usagef("--not-before %q: want a JSON Pointer, an RFC 3339 time like =2026-01-31T12:00:00Z, or =+90s", s)
	}
	return nil
}

func (p *parser) delays() bool { return p.notBefore != nil || !p.notBeforeAt.IsZero() }

// event makes an event of a JSON value, which becomes its data byte for byte.
func (p *parser) event(text []byte) (deed.Event, error) {
	if err := validJSON(text); err != nil {
		return deed.Event{}, err
	}
	e := deed.Event{
		Type: p.typeName, Version: 1, Source: p.source,
		ContentType: "application/json", Data: text,
	}
	var err error
	if p.key != nil {
		if e.Key, _, err = p.key.value(text); err != nil {
			return e, err
		}
	}
	if p.id != nil {
		if e.ID, _, err = p.id.value(text); err != nil {
			return e, err
		}
	}
	if p.time != nil {
		if e.Time, err = p.time.instant(text); err != nil {
			return e, err
		}
	}
	return e, nil
}

// validJSON says what is wrong; json.Valid only says that something is.
func validJSON(text []byte) error {
	if json.Valid(text) {
		return nil
	}
	var v json.RawMessage
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return errors.New("not JSON")
}

// instant returns the time that p points to: RFC 3339, or milliseconds since 1970
// as a number.
func (p pointer) instant(doc []byte) (time.Time, error) {
	text, isNumber, err := p.value(doc)
	if err != nil {
		return time.Time{}, err
	}
	if isNumber {
		ms, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Abs(ms) > maxMillis {
			return time.Time{}, fmt.Errorf("--%s %s: %s is no time in milliseconds", p.flag, p.text, text)
		}
		return time.UnixMicro(int64(ms * 1000)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--%s %s: %q is no RFC 3339 time", p.flag, p.text, shorten(text, 40))
	}
	return t, nil
}

// maxMillis is the end of the year 9999, the last that RFC 3339 can write.
const maxMillis = 253402300799999
