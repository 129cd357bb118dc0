package deed

import (
	"errors"
	"fmt"
	"time"
)

// A handler's verdict is the error that it returns: nil means done, any other
// error means try again later by the subscription's [Retry], and the errors made
// here say more.

// Reject says that the event can never be handled: it becomes a dead letter at
// once, without further attempts.
func Reject(err error) error {
	if err == nil {
		err = errors.New("rejected")
	}
	return &rejectError{err}
}

// RetryAfter says that the event should be tried again after d, however many
// attempts there were: a 429 with Retry-After, a resource that is being created.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("asked to be tried again")
	}
	return &retryAfterError{d, err}
}

type rejectError struct{ err error }

func (e *rejectError) Error() string { return e.err.Error() }
func (e *rejectError) Unwrap() error { return e.err }

type retryAfterError struct {
	after time.Duration
	err   error
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// BatchError is what a batch handler returns when only some events failed: their
// errors by index into the batch. The others are done.
type BatchError map[int]error

// Error lists how many failed and one of the reasons.
func (e BatchError) Error() string {
	first := -1
	for i := range e {
		if first < 0 || i < first {
			first = i
		}
	}
	if first < 0 {
		return "no event of the batch failed"
	}
	return fmt.Sprintf("%d events of the batch failed, the first at index %d: %v", len(e), first, e[first])
}

// Unwrap returns the events' errors.
func (e BatchError) Unwrap() []error {
	errs := make([]error, 0, len(e))
	for _, err := range e {
		errs = append(errs, err)
	}
	return errs
}

// Reasons of dead letters.
const (
	reasonRejected    = "rejected"
	reasonExhausted   = "exhausted"
	reasonUndecodable = "undecodable"
	reasonVersion     = "unknown version"
	reasonCrashed     = "crashed"
)

var (
	errVersion = errors.New("unknown version")
	// ErrStopping is the cause of a handler's cancelled context when the drain
	// deadline of a stopping program has passed.
	ErrStopping = errors.New("the program is stopping")
	// ErrClaimLost is the cause of a handler's cancelled context when its
	// partition belongs to another member now: what the handler still does may be
	// done twice.
	ErrClaimLost = errors.New("the partition belongs to another member")
)
