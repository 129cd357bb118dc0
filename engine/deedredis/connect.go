package deedredis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

func connectError(s settings, err error) error {
	return fmt.Errorf("deedredis: connect to %s: %w", strings.Join(s.client.InitAddress, ", "), explain(err))
}

// connect returns when the server has answered, or ctx is done: the client itself knows
// its own timeouts only.
func connect(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	type connected struct {
		client rueidis.Client
		err    error
	}
	done := make(chan connected, 1)
	go func() {
		client, err := rueidis.NewClient(o)
		done <- connected{client, err}
	}()
	select {
	case got := <-done:
		return got.client, got.err
	case <-ctx.Done():
		go func() {
			if got := <-done; got.err == nil {
				got.client.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}
