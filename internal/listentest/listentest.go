// Package listentest listens on an ephemeral engine for tests.
package listentest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// Listener collects what a subscription hears.
type Listener struct {
	Got    []driver.Delivery
	Missed []driver.Missed

	t   *testing.T
	sub driver.Subscription
}

// Listen listens to a topic or, when its name has a star, to a pattern, until the test ends.
func Listen(t *testing.T, c driver.Conn, topic string) *Listener {
	t.Helper()
	subscribe := c.Subscribe
	if strings.Contains(topic, "*") {
		patterns, ok := driver.As[driver.Patterns](c)
		if !ok {
			t.Fatalf("%s has no patterns", c.Features().Engine)
		}
		subscribe = patterns.SubscribePattern
	}
	sub, err := subscribe(t.Context(), driver.SubscribeSpec{Topic: topic, Group: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Close() })
	return &Listener{t: t, sub: sub}
}

// Until receives until done, which must be soon.
func (l *Listener) Until(what string, done func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	for !done() {
		got, err := l.sub.Receive(ctx, driver.Fetch{Events: 1000, Bytes: 64 << 20})
		if err != nil {
			l.t.Fatalf("%s: %v", what, err)
		}
		l.Got = append(l.Got, got.Deliveries...)
		if got.Missed != (driver.Missed{}) {
			l.Missed = append(l.Missed, got.Missed)
		}
	}
}

// IDs returns the ids of what was heard.
func (l *Listener) IDs() (ids []string) {
	for _, d := range l.Got {
		ids = append(ids, d.ID)
	}
	return ids
}
