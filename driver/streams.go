package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrConflict means that a stream or record is at another version than the caller
// thought. Nothing was written; the error is a [*ConflictError].
var ErrConflict = errors.New("changed by somebody else")

// ConflictError is ErrConflict with the version that is there.
type ConflictError struct {
	Version int64 // 0 when there is nothing
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%v: it is at version %d", ErrConflict, e.Version)
}

// Is makes it ErrConflict to errors.Is.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Streams is implemented by engines that keep streams: the events of one key, counted
// by versions 1, 2, 3 … without holes. They are in topics that were made for them, see
// TopicSettings.Streams, each in the partition of its key. All else about such a topic
// is as of any other: groups read it, and meet the events of a stream in its order.
type Streams interface {
	// AppendStream stores a batch at the end of its stream: all of it or nothing, in one
	// atomic step with the check of the version, so that of several that append to one
	// version exactly one does. It returns the position of the last event, once all are
	// as durable as Features promises. Errors are those of a Receipt, and:
	//
	// A stream that is not at b.Version is a *ConflictError, unless the batch is there
	// already: the events after b.Version have the batch's sources and ids. So whoever
	// does not know what became of an append repeats it.
	AppendStream(ctx context.Context, b StreamBatch) (last string, err error)
	// ReadStream returns at most p.Limit events of a stream, that of version p.After+1
	// first. There are none of a stream that nobody appended to, which is no error.
	ReadStream(ctx context.Context, p StreamPage) ([]Delivery, error)
}

// StreamBatch is what is appended to one stream.
type StreamBatch struct {
	Topic    string
	Key      string // whose stream it is; any text but "", without zero bytes
	Version  int64  // that the stream is at, 0 when nothing was appended to it
	Messages []Message
}

// StreamPage says which events of a stream to read.
type StreamPage struct {
	Topic, Key string
	After      int64 // version, exclusive; 0 means the beginning
	Limit      int
}

// Check is ErrRefused for a batch that no engine accepts.
func (b *StreamBatch) Check() error {
	switch {
	case !isText(b.Key):
		return fmt.Errorf("%w: %q is no key of a stream (want text, without zero bytes)", ErrRefused, b.Key)
	case b.Version < 0:
		return fmt.Errorf("%w: version %d (want 0 or more)", ErrRefused, b.Version)
	case len(b.Messages) == 0:
		return fmt.Errorf("%w: there is nothing to append", ErrRefused)
	}
	for i := range b.Messages {
		switch m := &b.Messages[i]; {
		case m.Key != b.Key:
			return fmt.Errorf("%w: event %s has key %q, the stream %q", ErrRefused, m.ID, m.Key, b.Key)
		case !m.NotBefore.IsZero():
			return fmt.Errorf("%w: event %s is delayed, and would have no place in its stream", ErrRefused, m.ID)
		}
	}
	return nil
}

// isText reports whether every engine can keep a name as it is.
func isText(s string) bool {
	return s != "" && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// ErrStreams is why Publish refuses batches for a topic of streams.
var ErrStreams = fmt.Errorf("%w: it is a topic of streams, to which one appends with an expected version", ErrRefused)
