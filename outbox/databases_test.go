package outbox_test

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
			{"committed is relayed and rolled back is not", testCommittedIsRelayedAndRolledBackIsNot},
			{"event arrives as published", testEventArrivesAsPublished},
			{"foreign transaction is relayed soon", testForeignTransactionIsRelayedSoon},
			{"key order under concurrent transactions and two relays", testKeyOrderUnderConcurrentTransactionsAndTwoRelays},
			{"rows are kept and then removed", testRowsAreKeptAndThenRemoved},
			{"delayed event waits in the outbox", testDelayedEventWaitsInTheOutbox},
			{"last pass", testLastPass},
			{"one connection is enough", testOneConnectionIsEnough},
			{"topic settings travel", testTopicSettingsTravel},
			{"publish says what is wrong", testPublishSaysWhatIsWrong},
			{"crash between send and mark", testCrashBetweenSendAndMark},
			{"failing partition holds nothing else up", testFailingPartitionHoldsNothingElseUp},
			{"refused event is set aside", testRefusedEventIsSetAside},
			{"discard refused", testDiscardRefused},
			{"lost events are sent again", testLostEventsAreSentAgain},
			{"lost events are noticed without new ones", testLostEventsAreNoticedWithoutNewOnes},
			{"gap that cannot be filled", testGapThatCannotBeFilled},
			{"topic that cannot be created holds nothing else up", testTopicThatCannotBeCreatedHoldsNothingElseUp},
			{"closed bus ends run", testClosedBusEndsRun},
		} {
			t.Run(c.name, func(t *testing.T) { c.test(t, k) })
		}
	})
}
