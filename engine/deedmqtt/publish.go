package deedmqtt

import (
	"context"
	"fmt"

	"github.com/deedgo/deed/driver"
)

// Announcement is an event on its way to a broker.
type Announcement struct {
	Topic   string // MQTT's
	Message *driver.Message
}

// Publish sends events in order and waits until the broker has acknowledged each, QoS 1.
// The errors are parallel to as; nil when all were acknowledged. One that wraps neither
// ErrNotStored nor ErrRefused leaves the outcome unknown.
func (s *Session) Publish(ctx context.Context, as []Announcement) []error {
	errs := make([]error, len(as))
	answers := make([]func(context.Context) error, len(as))
	s.sending.Lock()
	for i, a := range as {
		answers[i], errs[i] = s.wire.send(ctx, a.Topic, a.Message)
	}
	s.sending.Unlock()
	failed := false
	for i, answer := range answers {
		if errs[i] == nil {
			errs[i] = answer(ctx)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("mqtt: publish: topic %s: event %s: %w", as[i].Topic, as[i].Message.ID, errs[i])
			failed = true
		}
	}
	if !failed {
		return nil
	}
	return errs
}

// unknown is the error of an event on its way when the connection was lost.
func (s *Session) unknown() error {
	<-s.over // which is being closed
	return fmt.Errorf("%w: nobody knows whether the broker has it: %w", driver.ErrAway, s.Err())
}
