package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// format is the value of -o.
type format string

const (
	asText format = "text"
	asJSON format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "text|json" }

func (f *format) Set(s string) error {
	if s != string(asText) && s != string(asJSON) {
		return fmt.Errorf("want text or json")
	}
	*f = format(s)
	return nil
}

// addFlag gives a command -o.
func (f *format) addFlag(cmd *cobra.Command) {
	*f = asText
	cmd.Flags().VarP(f, "output", "o", "how to print")
}

// printJSON writes v as one document.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(output{a.stdout})
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows in aligned columns. A column of numbers is one whose title
// starts with ">": it is aligned to the right.
type table struct {
	titles []string
	rows   [][]string
}

func newTable(titles ...string) *table { return &table{titles: titles} }

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = plain(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(a *app) error {
	widths := make([]int, len(t.titles))
	for i, title := range t.titles {
		widths[i] = utf8.RuneCountInString(strings.TrimPrefix(title, ">"))
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	titles := make([]string, len(t.titles))
	for i, title := range t.titles {
		titles[i] = strings.TrimPrefix(title, ">")
	}
	t.line(&b, widths, titles)
	if colours(a.stdout) {
		head := strings.TrimSuffix(b.String(), "\n")
		b.Reset()
		b.WriteString("\x1b[1m" + head + "\x1b[0m\n")
	}
	for _, row := range t.rows {
		t.line(&b, widths, row)
	}
	_, err := io.WriteString(output{a.stdout}, b.String())
	return err
}

func (t *table) line(b *strings.Builder, widths []int, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			line.WriteString("  ")
		}
		if strings.HasPrefix(t.titles[i], ">") {
			line.WriteString(pad + cell)
		} else {
			line.WriteString(cell + pad)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}

// colours reports whether w is a terminal whose user did not decline colours.
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// plain replaces what could drive a terminal: text comes from events.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// shorten cuts s to n runes.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// comma writes n with thousands separators.
func comma(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// plural is "1 event" or "5 events".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return comma(n) + " " + what + "s"
}

// span writes a duration in its two largest units: "3d4h", "1m5s", "120ms".
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "-" + span(-d)
	case d == 0:
		return "0s"
	case d < time.Second:
		return max(d.Round(time.Millisecond), time.Millisecond).String()
	case d >= day:
		s := fmt.Sprintf("%dd", d/day)
		if h := d % day / time.Hour; h > 0 {
			s += fmt.Sprintf("%dh", h)
		}
		return s
	}
	d = d.Round(time.Second)
	s := d.String()
	if d >= time.Hour {
		s = d.Truncate(time.Minute).String()
	}
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ago writes how long t is past.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	if d < time.Second {
		return "now"
	}
	return span(d) + " ago"
}

// stamp is t for JSON: RFC 3339, or null.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
