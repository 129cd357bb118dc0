package deedamqp_test

import (
	"testing"

	"github.com/deedgo/deed/internal/rabbittest"
)

// A node takes seconds to start, so these share one.
func TestOnServer(t *testing.T) {
	s := rabbittest.Start(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *rabbittest.Server)
	}{
		{"StrangerPublishes", testStrangerPublishes},
		{"StrangerConsumes", testStrangerConsumes},
		{"OrderOutlivesConsumers", testOrderOutlivesConsumers},
		{"ConnectionBreaks", testConnectionBreaks},
		{"FrozenMember", testFrozenMember},
		{"Poison", testPoison},
		{"Topology", testTopology},
		{"QueueLost", testQueueLost},
		{"PublishErrors", testPublishErrors},
		{"Examine", testExamine},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}
