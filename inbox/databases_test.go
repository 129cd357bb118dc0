package inbox_test

import (
	"testing"

	"github.com/deedgo/deed/internal/testdb"
)

// TestEachDatabase runs what has to hold in a database of every kind.
func TestEachDatabase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, k testdb.Kind) {
		for _, c := range []struct {
			name string
			test func(t *testing.T, k testdb.Kind)
		}{
			{"effect row and outbox are one transaction", testEffectRowAndOutboxAreOneTransaction},
			{"redelivery is skipped", testRedeliveryIsSkipped},
			{"groups are separate", testGroupsAreSeparate},
			{"concurrent duplicates", testConcurrentDuplicates},
			{"zombie cannot commit", testZombieCannotCommit},
			{"replay is a run of its own", testReplayIsARunOfItsOwn},
			{"batch", testBatch},
			{"batch runs again without failed keys", testBatchRunsAgainWithoutFailedKeys},
			{"on any", testOnAny},
			{"rejected leaves nothing behind", testRejectedLeavesNothingBehind},
			{"old rows are removed", testOldRowsAreRemoved},
		} {
			t.Run(c.name, func(t *testing.T) { c.test(t, k) })
		}
	})
}
