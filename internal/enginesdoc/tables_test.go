package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
)

// TestGuaranteesAreChecked ties the table to the suite: an engine that keeps a guarantee is
// held to its checks, and one that refuses it is spared one of them at least.
func TestGuaranteesAreChecked(t *testing.T) {
	asked, err := open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range asked {
		for _, g := range guarantees {
			checks := g.checks
			if e.features.Ephemeral {
				checks = g.heard
			}
			lacks := slices.IndexFunc(checks, func(name string) bool { return e.lacks[name] != "" })
			switch keeps := g.keeps(e.features); {
			case keeps && len(checks) == 0:
				t.Errorf("%s keeps %q, and no check holds it to that", e.url, g.name)
			case keeps && lacks >= 0:
				t.Errorf("%s keeps %q, but %s does not run: it %s", e.url, g.name, checks[lacks], e.lacks[checks[lacks]])
			case !keeps && len(checks) > 0 && lacks < 0:
				t.Errorf("%s refuses %q, and all its checks run", e.url, g.name)
			}
		}
	}
	known := make(map[string]bool)
	for _, c := range drivertest.Checks() {
		known[c.Name] = true
	}
	for _, g := range guarantees {
		for _, name := range slices.Concat(g.checks, g.heard) {
			if !known[name] {
				t.Errorf("%s: there is no check %s", g.name, name)
			}
		}
	}
}

// TestEveryEngineIsDescribed wants a word about each engine that somebody may open; what
// is only part of another's column says so here.
func TestEveryEngineIsDescribed(t *testing.T) {
	within := map[string]string{"mem+pubsub:": "mem:", "kafka://HOST": "kafka://HOST --state sqlite:FILE"}
	asked, err := open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range asked {
		url := e.url
		if other, ok := within[url]; ok {
			url = other
		}
		if !slices.ContainsFunc(engines, func(d described) bool { return d.url == url }) {
			t.Errorf("nothing is said of %s (add it to engines, in engines.go)", e.url)
		}
	}
}

func TestCellsAgreeWithFeatures(t *testing.T) {
	g := guarantee{
		keeps: func(f driver.Features) bool { return f.Lag },
		parts: []part{{"the rest", func(f driver.Features) bool { return f.Reset }}},
	}
	for _, c := range []struct {
		how      string
		features driver.Features
		want     string // "" for an error
	}{
		{own + "a table", driver.Features{Lag: true, Reset: true}, "deed: a table"},
		{own + "a table", driver.Features{Lag: true}, "deed: a table; **refused**: the rest"},
		{"", driver.Features{}, "**refused**"},
		{own + "a table", driver.Features{}, ""},
		{"", driver.Features{Lag: true}, ""},
		{"a table", driver.Features{Lag: true}, ""},
	} {
		got, err := g.cell(c.how, c.features)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q with %+v is %q, %v, want %q", c.how, c.features, got, err, c.want)
		}
	}
}

func TestTableHasAPlace(t *testing.T) {
	page, err := put([]byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), "new\n")
	if err != nil || string(page) != "before\n"+tableBegins+"new\n"+tableEnds+"after\n" {
		t.Errorf("put: %q, %v", page, err)
	}
	for _, page := range []string{"", tableBegins, tableEnds + tableBegins} {
		if _, err := put([]byte(page), "new"); err == nil || !strings.Contains(err.Error(), "no place") {
			t.Errorf("a page without a place: %v", err)
		}
	}
}
