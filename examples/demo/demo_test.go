package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/deedgo/deed/examples/data"
	"github.com/deedgo/deed/examples/orders/system"
	"github.com/deedgo/deed/internal/redistest"
)

// TestMain lets the shop start this test binary again as a service.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; system.IsService(args) {
		if err := system.Serve(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The story ends well, and says what it should on the way. The program compares
// everything with the feed itself; this test knows the feed's numbers by heart.
func TestDemo(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { checkDemo(t, "", "in one SQLite file") })
	t.Run("redis", func(t *testing.T) { checkDemo(t, redistest.Start(t).URL(), "on redis") })
}

func checkDemo(t *testing.T, busURL, where string) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, 40, busURL); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"1,707 real earthquakes become events, " + where, "stored 1,707 in", "published again: 0 stored, 1,707 recognized",
		"ci           8   242   111    25     ·     ·     ·    386  ████████████████████\n",
		"se           ·     1     ·     ·     ·     ·     ·      1  ▏\n",
		"nn00620389  key nn  rejected: rms is missing; 205 parked behind it, the other 4 bad ones",
		"quality has handled 1,501, triage 1,702",
		"quality        1,707             0         0         0",
		"triage         1,707             0         0         0",
		"view           1,707             0         0         0",
		"12 networks out of 12 in the order of the feed",
		"40 = 40       with an equal row in the view",
		"Nothing was lost and nothing was done twice.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(line)); n > 121 {
			t.Errorf("a line of %d letters is too long to read: %s", n, line)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestBands(t *testing.T) {
	for mag, want := range map[float64]string{
		-0.8: "<0", 0: "0-1", 0.99: "0-1", 1: "1-2", 4.99: "4-5", 5: "5+", 9.5: "5+",
	} {
		if got := bands[bandOf(mag)].name; got != want {
			t.Errorf("magnitude %v is in %s, want %s", mag, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for n, want := range map[int]string{
		0: "▏", 1: "▏", 400: strings.Repeat("█", barWidth), 200: strings.Repeat("█", barWidth/2),
		205: strings.Repeat("█", barWidth/2) + "▎",
	} {
		if got := bar(n, 400); got != want {
			t.Errorf("%d of 400: %q, want %q", n, got, want)
		}
	}
}

func TestComma(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := comma(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// A feed that is cut off is noticed.
func TestFeed(t *testing.T) {
	feed := data.Earthquakes()
	if _, err := readFeed(feed[:len(feed)-100]); err == nil || !strings.Contains(err.Error(), "line 1707") {
		t.Errorf("error %v, want one that names line 1707", err)
	}
}
