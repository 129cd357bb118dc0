package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/deedgo/deed"
)

// lacks says what an engine cannot do.
func lacks(b *deed.Bus, what string) error {
	f := b.Features()
	if f.Ephemeral {
		what = "stores nothing, neither topics nor groups (deed sub hears what is published while it runs)"
	}
	return fmt.Errorf("the engine %s %s", f.Engine, what)
}

// listening hears a topic, or all that match a pattern.
func listening(topic string, handle deed.HandlerFunc) *deed.Subscription {
	on := deed.NewTopic(topic, nil)
	if strings.Contains(topic, "*") {
		on = deed.NewPattern(topic)
	}
	opts := &deed.ListenOptions{Parallel: 1, InFlightBytes: subInFlight}
	return deed.Listen("cli", opts, deed.OnAny(on, func(ctx context.Context, e deed.Received[[]byte]) error {
		err := handle(ctx, e)
		if errors.Is(err, errSubEnded) { // nobody asked for more, so nothing is lost
			return nil
		}
		return err
	}))
}
