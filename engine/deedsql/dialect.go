package deedsql

import (
	"context"
	"time"

	"github.com/deedgo/deed/driver"
)

// dialect is what differs between databases. The engine's SQL is written once,
// with "?" placeholders.
type dialect interface {
	// begin waits for the right to write and begins a transaction. End gives the right
	// back after the commit or rollback.
	begin(ctx context.Context, s *session) error
	end()
	// watch calls changed whenever another connection may have committed, until ctx
	// ends.
	watch(ctx context.Context, changed func()) error
	// now is the clock that leases and windows go by, the same for all processes.
	now() time.Time
	// explain says what an error of the database means, as one of the driver's
	// sentinels where one fits. All tells that no other statement would fare better.
	explain(err error) (explained error, all bool)
	features() driver.Features
	close() error
}
