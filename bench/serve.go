package main

import (
	"context"
	"sync"
	"testing"

	"github.com/deedgo/deed/internal/testenv"
)

// serve runs a server as the tests do until end, which waits for its end. The url is what
// start returned.
func serve(ctx context.Context, start func(testing.TB) string) (url string, end func() error, err error) {
	up, over, ended := make(chan string, 1), make(chan struct{}), make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() {
		ended <- testenv.Program(ctx, func(string, ...any) {}, func(t testing.TB) {
			up <- start(t)
			<-over
		})
	})
	select {
	case url = <-up:
		return url, func() error {
			close(over)
			running.Wait()
			return <-ended
		}, nil
	case err = <-ended:
		return "", nil, err
	}
}
