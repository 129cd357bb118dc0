package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// A benchmark removes its topic, when it is interrupted too, and touches no other.
func TestBenchLeavesNothing(t *testing.T) {
	conn, err := deedmem.Open(t.Context(), "mem:"+t.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	topics, _ := driver.As[driver.Topics](conn)
	if _, err := topics.CreateTopic(t.Context(), "orders", driver.TopicSettings{}); err != nil {
		t.Fatal(err)
	}
	names := func() string {
		all, err := topics.Topics(t.Context())
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, info := range all {
			names = append(names, info.Name)
		}
		return strings.Join(names, " ")
	}
	bench := func(ctx context.Context, args ...string) (int, string) {
		var stderr bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr}
		return run(ctx, a, append([]string{"bench", "mem:" + t.Name()}, args...)), stderr.String()
	}
	if code, said := bench(t.Context(), "--events", "5000"); code != exitDone || names() != "orders" {
		t.Errorf("exit code %d, the topics are %s; it said %s", code, names(), said)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		defer interrupt()
		for ctx.Err() == nil && !strings.Contains(names(), benchName) {
			<-time.After(time.Millisecond)
		}
	}()
	if code, said := bench(ctx, "--duration", "1h"); code != exitFailed || said != "deed: bench: interrupted\n" ||
		names() != "orders" {
		t.Errorf("interrupted: exit code %d, the topics are %s; it said %s", code, names(), said)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 10_000 {
		h.add(time.Duration(i) * time.Millisecond)
	}
	near := func(what string, got, want float64) {
		if got < want || got > want*1.04 {
			t.Errorf("%s is %v ms (want %v, and no more than 4 %% above)", what, got, want)
		}
	}
	q := h.quantiles()
	near("p50", q.P50, 5000)
	near("p99", q.P99, 9900)
	near("p999", q.P999, 9990)
	if q.Max != 9999 {
		t.Errorf("the largest is %v ms (want 9999)", q.Max)
	}
	for _, d := range []time.Duration{0, 1, 63, 64, 65, 1000, 1<<40 + 12345, 1<<63 - 1} {
		if b := bucketOf(d); d > topOf(b) || b > 0 && d <= topOf(b-1) {
			t.Errorf("%d ns are in bucket %d, from %d to %d", d, b, topOf(b-1)+1, topOf(b))
		}
	}
	if got := (&quantiles{P50: 0.0421, P99: 1.23456, P999: 56.789, Max: 1234.56}).String(); got !=
		"p50 42µs, p99 1.23ms, p999 56.8ms, at most 1.23s" {
		t.Error(got)
	}
}
