package torture

import "testing"

func TestKafka(t *testing.T) {
	t.Parallel() // it mostly waits
	torturedOn(t, "kafka")
}
