package deedmqtt

import (
	"bytes"
	"context"
	"fmt"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

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
	replies := make([]chan packets.ControlPacket, len(as))
	s.sending.Lock()
	for i, a := range as {
		replies[i], errs[i] = s.send(ctx, packet(a.Topic, a.Message))
	}
	s.sending.Unlock()
	failed := false
	for i, reply := range replies {
		if errs[i] == nil {
			errs[i] = s.await(ctx, reply)
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

// send is the library's Publish without the waiting, so that events are on their way
// together and in order. The caller holds s.sending.
func (s *Session) send(ctx context.Context, p *paho.Publish) (chan packets.ControlPacket, error) {
	if s.limits.qos == 0 {
		return nil, fmt.Errorf("the broker acknowledges nothing, it takes QoS 0 only: %w", driver.ErrRefused)
	}
	raw := p.Packet()
	if size := len(p.Payload) + overhead(p); s.limits.packet > 0 && size > s.limits.packet {
		return nil, fmt.Errorf("it takes %d bytes, the broker accepts %d: %w", size, s.limits.packet, driver.ErrRefused)
	}
	reply := make(chan packets.ControlPacket, 1)
	if err := s.state.AddToSession(ctx, raw, reply); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", driver.ErrNotStored, driver.ErrAway, err)
	}
	var b bytes.Buffer
	raw.WriteTo(&b) //nolint:errcheck // a buffer takes everything
	if err := s.write(b.Bytes()); err != nil {
		s.lose(explain(err)) // what the broker has of it nobody knows
	}
	return reply, nil
}

// write sends a packet in one piece, as the library would not.
func (s *Session) write(packet []byte) error {
	s.conn.Lock()
	defer s.conn.Unlock()
	_, err := s.conn.Write(packet)
	return err
}

// overhead bounds the bytes of a packet beside its payload.
func overhead(p *paho.Publish) int {
	n := 32 + len(p.Topic) + len(p.Properties.ContentType)
	for _, u := range p.Properties.User {
		n += 5 + len(u.Key) + len(u.Value)
	}
	return n
}

func (s *Session) await(ctx context.Context, reply chan packets.ControlPacket) error {
	var r packets.ControlPacket
	select {
	case r = <-reply:
	case <-s.over:
		select {
		case r = <-reply: // it came before
		default:
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	ack, ok := r.Content.(*packets.Puback)
	switch {
	case !ok:
		<-s.over // which is being closed
		return fmt.Errorf("%w: nobody knows whether the broker has it: %w", driver.ErrAway, s.Err())
	case ack.ReasonCode < 0x80:
		return nil
	}
	text := ""
	if ack.Properties != nil {
		text = ack.Properties.ReasonString
	}
	return reason(ack.ReasonCode, text)
}
