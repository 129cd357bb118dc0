package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestComma(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -999: "-999", -1000: "-1,000",
		-1234567: "-1,234,567",
	} {
		if got := comma(n); got != want {
			t.Errorf("comma(%d) is %q (want %q)", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Nanosecond: "1ms", 120 * time.Millisecond: "120ms", 90 * time.Second: "1m30s",
		time.Minute: "1m", time.Hour: "1h", time.Hour + 5*time.Minute: "1h5m", 24 * time.Hour: "1d",
		25 * time.Hour: "1d1h", 7 * 24 * time.Hour: "7d", -time.Minute: "-1m", 3600*time.Second + time.Second: "1h",
		10 * time.Minute: "10m",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) is %q (want %q)", d, got, want)
		}
	}
}

func TestParseSpan(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour,
		"0.5d": 12 * time.Hour,
	} {
		if got, err := parseSpan(s); err != nil || got != want {
			t.Errorf("parseSpan(%q) is %v, %v (want %v)", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1h", "-1d", "d", "1x", "1d-1h", "99999999d", "1h1d"} {
		if got, err := parseSpan(s); err == nil {
			t.Errorf("parseSpan(%q) is accepted as %v", s, got)
		}
	}
}

func TestParseFrom(t *testing.T) {
	for _, s := range []string{
		"", "start", "end", "2018-02-07T00:00:00Z", "2018-02-07", "-24h", "-7d", "3-1042", "0-17,3-1042", "3-15-0",
	} {
		if _, err := parseFrom("from", s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"begin", "2018-13-01", "24h", "-", "-x", "3-", "3", "-1-4", "0-17,x"} {
		if _, err := parseFrom("from", s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
	if isCursor("2018-02-07") || isCursor("2018-02-07T00:00:00Z") || !isCursor("3-1042") {
		t.Error("a date and a position are told apart wrongly")
	}
}

func TestNearest(t *testing.T) {
	names := []string{"orders", "quakes", "payments"}
	for name, want := range map[string]string{
		"quaks": "quakes", "Quakes": "quakes", "order": "orders", "zzzz": "", "x": "", "pay": "payments",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest to %q is %q (want %q)", name, got, want)
		}
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("kitten and sitting are %d apart (want 3)", d)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := newTable("NAME", ">COUNT", "NOTE")
	table.add("é", "1,000", "")
	table.add("longer", "5", "a\x1b[31mb\nc")
	if err := table.print(&app{stdout: &out}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"NAME    COUNT  NOTE",
		"é       1,000",
		"longer      5  a [31mb c",
		"",
	}, "\n")
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
