package driverkit

import (
	"context"

	"github.com/deedgo/deed/driver"
)

// Repeated is what an engine answers to an append that met a conflict. When the batch is
// what the stream has behind its version, an earlier call stored it, whose answer was
// lost: then Repeated returns the position of its last event. Else it returns the
// conflict. Events of a stream never change nor go, so looking afterwards is early
// enough.
func Repeated(ctx context.Context, s driver.Streams, b *driver.StreamBatch, conflict error) (last string, err error) {
	n := len(b.Messages)
	got, err := s.ReadStream(ctx, driver.StreamPage{Topic: b.Topic, Key: b.Key, After: b.Version, Limit: n})
	if err != nil {
		return "", err
	}
	if len(got) < n {
		return "", conflict
	}
	for i := range got {
		if got[i].ID != b.Messages[i].ID || got[i].Source != b.Messages[i].Source {
			return "", conflict
		}
	}
	return got[n-1].Position, nil
}
