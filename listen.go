package deed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// ListenOptions configure a listener. The zero value is the default. There is nothing
// here about where to start, retries and dead letters: an ephemeral engine keeps no
// event for a second try.
type ListenOptions struct {
	// Parallel is how many handlers run at once. Zero means 16. With 1 events are
	// handled as they came, across keys too.
	Parallel int
	// Timeout cancels a handler's context. Zero means never.
	Timeout time.Duration
	// InFlightBytes bounds the data of events fetched and not yet handled. Zero means
	// 64 MiB. The engine bounds what waits in front of it.
	InFlightBytes int
	// Middleware wraps the listener's handlers inside the bus's own.
	Middleware []Middleware
}

// Listen declares what a program does about events that are announced while it
// listens, on an ephemeral engine. Each event is handled once at most: by every
// listener that is there, whoever else has the same name, and an event whose handler
// fails is gone, counted and logged. A nil opts means defaults. Mistakes are reported
// by Bus.Run, which refuses engines that store events: these have [Subscribe].
func Listen(name string, opts *ListenOptions, handlers ...Handler) *Subscription {
	if opts == nil {
		opts = &ListenOptions{}
	}
	s := Subscribe(name, &SubscribeOptions{
		Parallel: opts.Parallel, Timeout: opts.Timeout, InFlightBytes: opts.InFlightBytes, Middleware: opts.Middleware,
	}, handlers...)
	s.listens = true
	return s
}

// kind is what the subscription is called in errors and logs.
func (s *Subscription) kind() string {
	if s.listens {
		return "listener"
	}
	return "group"
}

// suits refuses engines that cannot keep what the subscription is for.
func (s *Subscription) suits(f driver.Features) error {
	i := slices.IndexFunc(s.handlers, func(h Handler) bool { return h.keyed })
	switch {
	case i >= 0 && !f.KeyOrder:
		return fmt.Errorf("%s: %s keeps no order, and events of type %s have keys (declare it without a key function, "+
			"or open an engine that keeps order): %w", s.topicNames(), f.Engine, s.handlers[i].typeName, errors.ErrUnsupported)
	case s.listens && !f.Ephemeral:
		return fmt.Errorf("%s: %s stores events for groups (use deed.Subscribe): %w",
			s.topicNames(), f.Engine, errors.ErrUnsupported)
	case !s.listens && f.Ephemeral:
		return fmt.Errorf("%s: %s has no groups, retries and dead letters: every listener gets every event, "+
			"and what comes while none is there is gone (declare that with deed.Listen, or open an engine that "+
			"stores events): %w", s.topicNames(), f.Engine, errors.ErrUnsupported)
	case !s.listens && !f.Groups:
		return fmt.Errorf("%s has no groups: %w", f.Engine, errors.ErrUnsupported)
	case !s.listens && !f.SideLog:
		return fmt.Errorf("%s keeps no dead letters (name an engine for them beside it by Options.State, or --state: "+
			"sqlite, postgres or mysql): %w", f.Engine, errors.ErrUnsupported)
	}
	return nil
}

// topicNames lists the topics and patterns of the handlers for an error.
func (s *Subscription) topicNames() string {
	var topics, patterns []string
	seen := make(map[string]bool)
	for _, h := range s.handlers {
		switch {
		case h.topic == nil || seen[h.topic.name]:
		case h.topic.pattern:
			patterns = append(patterns, "pattern "+h.topic.name)
		default:
			topics = append(topics, "topic "+h.topic.name)
		}
		if h.topic != nil {
			seen[h.topic.name] = true
		}
	}
	return strings.Join(append(topics, patterns...), ", ")
}

// overlap refuses a pattern beside a topic or pattern that it shares topics with.
func (s *Subscription) overlap() error {
	for i, h := range s.handlers {
		for _, other := range s.handlers[:i] {
			a, b := h.topic, other.topic
			if a == nil || b == nil || a.name == b.name || !a.pattern && !b.pattern {
				continue
			}
			if meet(a.name, b.name) {
				return fmt.Errorf("%s and %s match the same topics, whose events would come twice (use two subscriptions)",
					b.name, a.name)
			}
		}
	}
	return nil
}

// meet reports whether a name exists that two patterns match.
func meet(a, b string) bool {
	row := make([]bool, len(b)+1) // row[j] is whether what is left of a, and b[j:], meet
	for i := len(a); i >= 0; i-- {
		below := slices.Clone(row)
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				row[j] = true
			case i < len(a) && a[i] == '*':
				row[j] = below[j] || j < len(b) && row[j+1]
			case j < len(b) && b[j] == '*':
				row[j] = row[j+1] || i < len(a) && below[j]
			default:
				row[j] = i < len(a) && j < len(b) && a[i] == b[j] && below[j+1]
			}
		}
	}
	return row[0]
}
