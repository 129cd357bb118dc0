package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed"
)

// pipeTool is the command as deed pipe runs it, once for each event or once for all.
type pipeTool interface {
	// run gives the command one event and returns what it wrote. The error is a
	// refusal when the event shall not be tried again.
	run(ctx context.Context, e deed.Received[[]byte]) ([]byte, error)
	close()
}

// pipeSink takes the lines that a command wrote about an event.
type pipeSink func(ctx context.Context, e deed.Received[[]byte], lines []byte) error

// refusal says that an event shall not be tried again.
type refusal struct{ reason string }

func (r refusal) Error() string { return r.reason }

func refusef(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...)} }

// piping handles events with a tool.
type piping struct {
	tool  pipeTool
	sink  pipeSink
	say   func(error)
	stop  func()
	ended <-chan struct{}

	// seats holds one token for each event that may start, when there is a limit: a
	// failed event gives its token back, so that neither more events are handled
	// than wanted nor fewer.
	seats chan struct{}

	mu        sync.Mutex
	left      int64 // events to handle, when there is a limit
	open      int64 // tokens, in seats or with an event
	running   int
	idleSince time.Time
	failed    error // of stdout
}

// limit lets count events be handled, 0 for any number.
func (p *piping) limit(count int64, parallel int) {
	if count == 0 {
		return
	}
	p.left, p.open = count, min(count, int64(parallel))
	p.seats = make(chan struct{}, p.open)
	for range p.open {
		p.seats <- struct{}{}
	}
}

func (p *piping) handle(ctx context.Context, e deed.Received[[]byte]) error {
	if p.seats != nil {
		select {
		case <-p.seats:
		case <-p.ended:
			return errSubEnded
		}
	}
	p.mu.Lock()
	p.running++
	p.mu.Unlock()
	lines, err := p.tool.run(ctx, e)
	if err == nil && len(lines) > 0 {
		err = p.sink(ctx, e, lines)
	}
	p.done(err)
	var no refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return deed.Reject(err)
	case !errors.As(err, &outputError{}) && !errors.Is(err, deed.ErrStopping):
		p.say(fmt.Errorf("event %s: attempt %d: %w", e.ID, e.Attempt, err))
	}
	return err
}

// done counts an event that was handled or failed.
func (p *piping) done(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.idleSince = time.Now()
	var broken outputError
	if errors.As(err, &broken) && p.failed == nil {
		p.failed = broken
		p.stop()
	}
	if p.seats == nil {
		return
	}
	if err == nil {
		p.left--
		if p.left < p.open {
			if p.open--; p.left == 0 {
				p.stop()
			}
			return
		}
	}
	p.seats <- struct{}{}
}

// last says when the last event was done with, and is for stopWhenIdle.
func (p *piping) last() (at time.Time, busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idleSince, p.running > 0
}

func (p *piping) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}
