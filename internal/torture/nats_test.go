package torture

import "testing"

func TestNATS(t *testing.T) {
	t.Parallel() // it mostly waits
	torturedOn(t, "nats")
}
