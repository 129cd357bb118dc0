package deed

import "context"

// Run works until ctx ends, then drains: subscriptions stop fetching and let their
// handlers finish, at most for Options.Drain; then the other runners stop, an
// outbox's relay after a last pass. It returns nil after a clean drain, and an
// error when nothing can go on.
func (b *Bus) Run(ctx context.Context, runners ...Runner) error { panic("later today") }

// Run is called by Bus.Run.
func (s *Subscription) Run(ctx context.Context, b *Bus) error { panic("later today") }

// IdempotencyKey returns a key for a call that a handler makes to another system,
// the same on every delivery, retry, redrive and replay of the event: "group/source/id/step".
// Outside a handler it is empty.
func IdempotencyKey(ctx context.Context, step string) string { panic("later today") }

// Handling returns the event whose handler ctx belongs to.
func Handling(ctx context.Context) (Event, bool) { panic("later today") }
