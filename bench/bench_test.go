package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets this binary take samples, as the command does: samples run in
// processes of their own.
func TestMain(m *testing.M) {
	for i, arg := range os.Args {
		if arg == "-sample" {
			s := &settings{sample: os.Args[i+1]}
			if err := answer(context.Background(), s); err != nil {
				os.Stderr.WriteString(err.Error() + "\n")
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// TestEveryCase runs all there is in small: a case that cannot fail to work.
func TestEveryCase(t *testing.T) {
	s := &settings{quick: true, rounds: 1, grow: 3000, json: filepath.Join(t.TempDir(), "bench.json")}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Postgres's user has to get there
		t.Fatal(err)
	}
	if err := measureAll(t.Context(), s, dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.json)
	if err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if want := len(cases(s)); len(got.Cases) != want {
		t.Errorf("%d cases in the file, want %d", len(got.Cases), want)
	}
	for _, c := range got.Cases {
		if len(c.Failed) > 0 || len(c.Samples) != 1 {
			t.Errorf("%s: %d samples, failed: %v", c.Name, len(c.Samples), c.Failed)
			continue
		}
		if c.Request.Rate == 0 && c.Samples[0].PerSecond <= 0 {
			t.Errorf("%s measured nothing: %+v", c.Name, c.Samples[0])
		}
	}
	if report := got.markdown(); !strings.Contains(report, "| deed/sqlite 8x256 | power |") {
		t.Errorf("the report lacks a row:\n%s", report)
	}
}

// TestScaleChecks runs the checks of a large log and of an open snapshot in small, where
// nobody can tell how fast they are.
func TestScaleChecks(t *testing.T) {
	for _, s := range []settings{
		{large: 50_000}, {snapshot: time.Second}, {large: 50_000, only: "mysql"}, {snapshot: time.Second, only: "mysql"},
	} {
		s.rounds, s.grow, s.scale, s.dir = 1, 0, 1, t.TempDir()
		if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil { // Postgres's user has to get there
			t.Fatal(err)
		}
		if err := run(t.Context(), &s); err != nil && !errors.Is(err, errSlower) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestOnlyFitsNothing(t *testing.T) {
	err := run(t.Context(), &settings{only: "nothing", dir: t.TempDir(), rounds: 1, scale: 1})
	if err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("got %v, want an error that names what was asked for", err)
	}
}

func TestMedianAndQuantile(t *testing.T) {
	for _, c := range []struct {
		in     []float64
		median float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2},
	} {
		if got := middle(c.in); got != c.median {
			t.Errorf("the median of %v is %v, want %v", c.in, got, c.median)
		}
	}
	ds := make([]time.Duration, 1000)
	for i := range ds {
		ds[i] = time.Duration(1000 - i)
	}
	for q, want := range map[float64]time.Duration{0.5: 501, 0.99: 991, 0.999: 1000, 1: 1000} {
		if got := quantile(ds, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

// TestTargetsMissed makes sure that a target is not met by numbers that miss it.
func TestTargetsMissed(t *testing.T) {
	row := func(name string, perSecond, cpu float64) *benchCase {
		return &benchCase{Name: name, Samples: []sample{{PerSecond: perSecond, CPU: cpu}}}
	}
	r := &result{Cases: []*benchCase{
		row(rawCase, 100, 1), row("deed/sqlite 8x256", 79, 1), row("deed/mem 8x256", 1, 1.01),
	}}
	var b strings.Builder
	r.targets(&b)
	if got := strings.Count(b.String(), "| no |"); got != 2 || strings.Contains(b.String(), "| yes |") {
		t.Errorf("want two targets missed:\n%s", b.String())
	}
	r.Cases = []*benchCase{row(rawCase, 100, 1), row("deed/sqlite 8x256", 80, 1), row("deed/mem 8x256", 1, 1)}
	b.Reset()
	r.targets(&b)
	if got := strings.Count(b.String(), "| yes |"); got != 2 {
		t.Errorf("want two targets met:\n%s", b.String())
	}
}
