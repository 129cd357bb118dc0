package driver

import (
	"context"
	"fmt"
)

// The bounds of a record.
const (
	MaxRecordName  = 255       // bytes
	MaxRecordBytes = 512 << 10 // of data
)

// Record is a small document under a name.
type Record struct {
	Name string // any text but "", without zero bytes
	// Version grows whenever the record is put, and never comes twice under a name, not
	// even when it was deleted in between.
	Version int64
	Data    []byte
}

// Records is implemented by engines that keep small documents for whoever uses deed:
// schemas, the state of processes, claims of engines that have none. They belong to
// the engine as a whole, not to a topic. Writes are as durable as Features promises
// when they return; after an error whose outcome is unknown, see ErrNotStored, reading
// tells.
type Records interface {
	// Record returns the record of a name, or ErrNotFound.
	Record(ctx context.Context, name string) (Record, error)
	// Records returns at most limit records whose names begin with prefix, by name in
	// the order of bytes, those after the name given.
	Records(ctx context.Context, prefix, after string, limit int) ([]Record, error)
	// PutRecord replaces the record that is at r.Version, 0 for none, by r.Data, in one
	// atomic step, and returns the new version. When there is another one, or none, it
	// is a *ConflictError and changes nothing.
	PutRecord(ctx context.Context, r Record) (version int64, err error)
	// DeleteRecord removes the record that is at the version. Another one is a
	// *ConflictError, as is none.
	DeleteRecord(ctx context.Context, name string, version int64) error
}

// Check is ErrRefused for a record that no engine accepts.
func (r *Record) Check() error {
	switch {
	case len(r.Name) > MaxRecordName || !isText(r.Name):
		return fmt.Errorf("%w: %.40q is no name of a record (want text of 1 to %d bytes, none of them zero)",
			ErrRefused, r.Name, MaxRecordName)
	case r.Version < 0:
		return fmt.Errorf("%w: version %d (want 0 or more)", ErrRefused, r.Version)
	case len(r.Data) > MaxRecordBytes:
		return fmt.Errorf("%w: record %s has %d bytes (at most %d)", ErrRefused, r.Name, len(r.Data), MaxRecordBytes)
	}
	return nil
}
