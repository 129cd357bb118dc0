package deedamqp

import (
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
)

// A server that lacks what the URL asks for is refused with what to do.
func TestOldServer(t *testing.T) {
	for _, c := range []struct {
		version string
		streams bool
		want    string // "" when it will do
	}{
		{"3.7.28", false, "want 3.8"}, {"3.8.9", false, ""}, {"3.8.9", true, "no queues=stream"}, {"3.9.0", true, ""},
		{"3.10.8", true, ""}, {"4.1.2", true, ""}, {"2.8.7", true, "want 3.8"}, {"next", true, ""},
	} {
		err := old(c.version, c.streams)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("RabbitMQ %s, streams %v: %v, want %q", c.version, c.streams, err, c.want)
		}
		if err != nil && !errors.Is(err, driver.ErrRefused) {
			t.Errorf("RabbitMQ %s: %v is not ErrRefused", c.version, err)
		}
	}
}
