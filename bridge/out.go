package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmqtt"
)

// Out carries a topic's events to a broker. It is a [deed.Runner] and a group of its own:
// an event that the broker does not take is tried again, then a dead letter, and those of
// one key keep their order. It has to be kept as it is while it runs.
type Out struct {
	Broker string // its URL, mqtt://HOST:PORT
	Name   string // of the bridge, and with "-out" of the group
	Topic  *deed.Topic
	// To says where an event is published, "" for nowhere. Nil means where it was
	// published when it came by another bridge, and else the topic's name with slashes for
	// dots.
	To func(deed.Event) string
	// Options are those of the group; nil means defaults.
	Options *deed.SubscribeOptions

	mu      sync.Mutex
	session *deedmqtt.Session
}

// Run is called by Bus.Run.
func (o *Out) Run(ctx context.Context, b *deed.Bus) error {
	err := errors.Join(deed.CheckName("bridge", o.Name), deedmqtt.CheckURL(o.Broker))
	if o.Topic == nil {
		err = errors.Join(err, errors.New("Topic is nil"))
	}
	if err != nil {
		return fmt.Errorf("deed: bridge %s: %w", o.Name, err)
	}
	defer o.hangUp()
	return deed.Subscribe(o.Name+"-out", o.Options, deed.OnAny(o.Topic, o.carry)).Run(ctx, b)
}

// carry publishes an event and returns when the broker has it.
func (o *Out) carry(ctx context.Context, r deed.Received[[]byte]) error {
	e := r.Event
	if e.Extensions[attrBridge] == o.Name { // it came in by us
		return nil
	}
	to := o.place(e)
	if to == "" {
		return nil
	}
	if strings.ContainsAny(to, "+#\x00") || strings.HasPrefix(to, "$") {
		return deed.Reject(fmt.Errorf("bridge %s: %q is no MQTT topic to publish to", o.Name, to))
	}
	s, err := o.connected(ctx)
	if err != nil {
		return err
	}
	m := deed.MessageOf(&e)
	m.Attributes = with(m.Attributes, attrBridge, o.Name)
	errs := s.Publish(ctx, []deedmqtt.Announcement{{Topic: to, Message: &m}})
	if errs == nil {
		return nil
	}
	if errors.Is(errs[0], driver.ErrRefused) {
		return deed.Reject(errs[0])
	}
	return errs[0]
}

// with returns a copy of attributes with one more.
func with(attributes map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for n, v := range attributes {
		if n != name {
			all[n] = v
		}
	}
	return all
}

func (o *Out) place(e deed.Event) string {
	if o.To != nil {
		return o.To(e)
	}
	if to := e.Extensions[attrTopic]; to != "" {
		return to
	}
	return strings.ReplaceAll(o.Topic.Name(), ".", "/")
}

// connected returns the session, and connects where there is none.
func (o *Out) connected(ctx context.Context) (*deedmqtt.Session, error) {
	o.mu.Lock()
	defer o.mu.Unlock() // while one connects the others wait for it
	if o.session != nil && o.session.Err() == nil {
		return o.session, nil
	}
	if o.session != nil {
		o.session.Close() //nolint:errcheck // it is lost
		o.session = nil
	}
	s, err := deedmqtt.Dial(ctx, o.Broker, deedmqtt.SessionOptions{})
	if err != nil {
		return nil, err
	}
	o.session = s
	return s, nil
}

func (o *Out) hangUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session != nil {
		o.session.Close() //nolint:errcheck // all that it sent is acknowledged
		o.session = nil
	}
}
