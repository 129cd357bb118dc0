package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// connectError says where there is no server. Nothing was to be stored yet.
func connectError(s settings, err error) error {
	if known := explain(err); !errors.Is(known, driver.ErrNotStored) {
		err = known
	}
	return fmt.Errorf("deedredis: connect to %s: %w", strings.Join(s.client.InitAddress, ", "), err)
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
