package deedamqp_test

import (
	"cmp"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/rabbittest"
)

// A node takes seconds to start, so these share one.
func TestOnServer(t *testing.T) {
	t.Parallel()
	s := rabbittest.Start(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *rabbittest.Server)
	}{
		{"StrangerPublishes", onBoth(testStrangerPublishes)},
		{"StrangerConsumes", testStrangerConsumes},
		{"OrderOutlivesConsumers", onBoth(testOrderOutlivesConsumers)},
		{"ConnectionBreaks", onBoth(testConnectionBreaks)},
		{"FrozenMember", onBoth(testFrozenMember)},
		{"Poison", onBoth(testPoison)},
		{"Kinds", testKinds},
		{"StreamTopology", testStreamTopology},
		{"StreamLost", testStreamLost},
		{"StreamReplaced", testStreamReplaced},
		{"StreamEnds", testStreamEnds},
		{"StreamSeek", testStreamSeek},
		{"StreamRemoved", testStreamRemoved},
		{"Topology", testTopology},
		{"QueueLost", testQueueLost},
		{"PublishErrors", testPublishErrors},
		{"Examine", testExamine},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

// onBoth runs a test with quorum queues, and with streams.
func onBoth(run func(t *testing.T, s *rabbittest.Server, query string)) func(*testing.T, *rabbittest.Server) {
	return func(t *testing.T, s *rabbittest.Server) {
		for _, query := range []string{"", streaming} {
			t.Run(cmp.Or(strings.TrimPrefix(query, "?queues="), "quorum"), func(t *testing.T) { run(t, s, query) })
		}
	}
}
