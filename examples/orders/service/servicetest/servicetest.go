// Package servicetest runs one service inside a test, which plays all the others.
package servicetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/orders/service"
)

// Service is a running service and the bus that it is on.
type Service struct {
	Bus *deed.Bus // of the test, on the same file
	t   testing.TB
	url string
}

// Start runs a service in a folder of its own until the test ends, and wants it to
// end well.
func Start(t testing.TB, run func(ctx context.Context, cfg service.Config) error) *Service {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, says := io.Pipe()
	dir := t.TempDir()
	cfg := service.Config{Bus: "sqlite:" + dir + "/bus.db", Dir: dir, Lease: time.Second, Ready: says}
	var running sync.WaitGroup
	running.Go(func() {
		err := run(ctx, cfg)
		says.CloseWithError(err)
		if err != nil {
			t.Errorf("the service: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		t.Fatalf("start the service: %v", err)
	}
	bus, err := engine.Open(ctx, cfg.Bus, &deed.Options{Source: "/test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Service{Bus: bus, t: t, url: strings.TrimSpace(strings.TrimPrefix(line, "ready "))}
}

// Publish announces events as another service would.
func (s *Service) Publish(drafts ...deed.Draft) {
	s.t.Helper()
	if err := s.Bus.Publish(s.t.Context(), drafts...); err != nil {
		s.t.Fatal(err)
	}
}

// Call makes a request and decodes the answer into v, unless that is nil.
func (s *Service) Call(method, path, key, body string, v any) (status int) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if v != nil {
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode
}

// Events returns how many events of a type are on the bus.
func (s *Service) Events(topic *deed.Topic, typeName string) int {
	s.t.Helper()
	n := 0
	for _, err := range s.Bus.Read(s.t.Context(), topic.Name(), &deed.ReadOptions{Type: typeName}) {
		if errors.Is(err, driver.ErrNotFound) {
			return 0 // the first event creates the topic
		}
		if err != nil {
			s.t.Fatal(err)
		}
		n++
	}
	return n
}

// Dead returns how many dead letters a group has.
func (s *Service) Dead(group string) int {
	s.t.Helper()
	groups, ok := driver.As[driver.Groups](s.Bus.Conn())
	if !ok {
		s.t.Fatal("the engine tells nothing of its groups")
	}
	lags, err := groups.Lag(s.t.Context(), group, "")
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, l := range lags {
		n += int(l.Dead)
	}
	return n
}

// patience is how long Await waits.
const patience = time.Minute

// Await looks again and again until ok is true.
func (s *Service) Await(what string, ok func() bool) {
	s.t.Helper()
	late := time.After(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-late:
			s.t.Fatalf("after %v still waiting for %s", patience, what)
		}
	}
}
