package deed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// join joins the group on the topic, which is created if it has to be and may. An
// engine that is out of reach at this moment is waited for.
func (t *topicRun) join(ctx context.Context, from driver.From) (driver.Subscription, error) {
	pause := receivePauseMin
	for {
		sub, err := t.subscribe(ctx, from)
		if !errors.Is(err, driver.ErrAway) {
			return sub, err
		}
		t.log.Warn("deed: joining the group failed, trying again", "error", err, "pause", pause.String())
		select {
		case <-time.After(pause):
			pause = min(2*pause, receivePauseMax)
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (t *topicRun) subscribe(ctx context.Context, from driver.From) (driver.Subscription, error) {
	g := t.g
	return g.bus.subscribe(ctx, t.topic, driver.SubscribeSpec{
		Topic: t.name, Group: g.sub.group, From: from, Lease: g.bus.opts.Lease, Unsafe: g.sub.unsafe(t.name),
	})
}

// abandon gives up what the engine has lost: the partitions, and the subscription.
func (t *topicRun) abandon(cause error) {
	t.log.Error("deed: the engine has lost the topic or group; the group starts again from the beginning of what is there",
		"error", cause)
	t.lost = true
	for _, p := range t.partitions() {
		t.lose(p)
	}
	if err := t.sub.Close(); err != nil {
		t.log.Debug("deed: leaving what is lost failed", "error", err)
	}
}

// rejoin joins again where abandon left off. Whatever the group's From, it starts at the
// beginning: all that is there was stored after the loss.
func (t *topicRun) rejoin(ctx context.Context) error {
	t.g.bus.topics.forget(t.name)
	sub, err := t.subscribe(ctx, driver.From{})
	if errors.Is(err, driver.ErrNotFound) && !t.g.bus.opts.NoCreate {
		return fmt.Errorf("the engine has lost it once more: %v", err) // to be tried again
	}
	if err != nil {
		return err
	}
	t.g.mu.Lock()
	t.sub, t.lost = sub, false
	t.g.mu.Unlock()
	t.log.Info("deed: the group has joined again")
	return nil
}
