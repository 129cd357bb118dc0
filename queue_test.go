package deed

import (
	"fmt"
	"testing"
)

// TestKeysLoseTheirQueues checks that queues without events do not stay for ever, and
// that those with events do.
func TestKeysLoseTheirQueues(t *testing.T) {
	p := &partition{keys: make(map[string]*keyQueue)}
	waiting, busy := p.queueOf("waiting"), p.queueOf("busy")
	waiting.push(&item{})
	busy.busy = true
	for i := range 10 * keysMax {
		p.queueOf(fmt.Sprint(i))
		if len(p.keys) > keysMax {
			t.Fatalf("%d keys have a queue after %d, want at most %d", len(p.keys), i+1, keysMax)
		}
	}
	if p.queueOf("waiting") != waiting || p.queueOf("busy") != busy {
		t.Error("a queue in use was lost: events of its key could overtake each other")
	}
}
