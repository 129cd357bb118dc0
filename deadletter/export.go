package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/deedgo/deed"
)

// Export writes dead letters as lines, each the CloudEvents JSON document of the
// event with the failure in extension attributes: deadletter (the ID), deadgroup,
// deadtopic, deadposition, deadreason, deaderror, deadattempts, deadcrashes and
// deadfailed. It holds a page at a time, and returns how many it wrote. A nil f
// selects all.
func Export(ctx context.Context, b *deed.Bus, f *Filter, w io.Writer) (int, error) {
	n := 0
	for l, err := range List(ctx, b, f) {
		if err != nil {
			return n, err
		}
		line, err := json.Marshal(exported(l))
		if err != nil {
			return n, fmt.Errorf("export dead letter %d: %w", l.ID, err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// exported is a letter's event with the failure in its extensions, which are flat
// and without control characters, as CloudEvents wants them.
func exported(l Letter) deed.Event {
	e := l.Event
	e.Extensions = maps.Clone(e.Extensions)
	if e.Extensions == nil {
		e.Extensions = make(map[string]string)
	}
	for name, value := range map[string]string{
		"deadletter":   strconv.FormatInt(l.ID, 10),
		"deadgroup":    l.Group,
		"deadtopic":    l.Topic,
		"deadposition": l.Position,
		"deadreason":   l.Reason,
		"deaderror":    oneLine(l.Error),
		"deadattempts": strconv.Itoa(l.Attempts),
		"deadcrashes":  strconv.Itoa(l.Crashes),
		"deadfailed":   l.Failed.UTC().Format(time.RFC3339Nano),
	} {
		e.Extensions[name] = value
	}
	return e
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
