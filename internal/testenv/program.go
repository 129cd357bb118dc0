package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Program does what wants a test, outside of one: a program that needs a server can
// have those of the tests. What fn reports as an error, also that something is missing,
// is in the returned one, and what it logs goes to say. Its clean-ups have run then.
func Program(ctx context.Context, say func(format string, args ...any), fn func(t testing.TB)) error {
	p := &program{ctx: ctx, say: say}
	var panicked any
	var own sync.WaitGroup // FailNow ends a goroutine
	own.Go(func() {
		defer p.cleanUp()
		defer func() { panicked = recover() }()
		fn(p)
	})
	own.Wait()
	if panicked != nil {
		panic(panicked)
	}
	return errors.Join(p.errs...)
}

// program is what a program has instead of a test. A method that is not here panics.
type program struct {
	testing.TB
	ctx context.Context
	say func(format string, args ...any)

	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

func (p *program) cleanUp() {
	for {
		p.mu.Lock()
		if len(p.cleanups) == 0 {
			p.mu.Unlock()
			return
		}
		last := len(p.cleanups) - 1
		fn := p.cleanups[last]
		p.cleanups = p.cleanups[:last]
		p.mu.Unlock()
		fn()
	}
}

func (p *program) fail(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, errors.New(strings.TrimSpace(text)))
}

func (p *program) Helper() {}

func (p *program) Name() string { return "program" }

func (p *program) Context() context.Context { return p.ctx }

func (p *program) Cleanup(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, fn)
}

func (p *program) TempDir() string {
	dir, err := os.MkdirTemp("", "deed-program-")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			p.Error(err)
		}
	})
	return dir
}

func (p *program) Log(args ...any) { p.say("%s", strings.TrimSpace(fmt.Sprintln(args...))) }

func (p *program) Logf(format string, args ...any) { p.say(format, args...) }

func (p *program) Error(args ...any) { p.fail(fmt.Sprintln(args...)) }

func (p *program) Errorf(format string, args ...any) { p.fail(fmt.Sprintf(format, args...)) }

func (p *program) Fatal(args ...any) {
	p.Error(args...)
	p.FailNow()
}

func (p *program) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	p.FailNow()
}

// Skipf is a failure: who calls a program wants it done.
func (p *program) Skipf(format string, args ...any) { p.Fatalf(format, args...) }

func (p *program) FailNow() { runtime.Goexit() }

func (p *program) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.errs) > 0
}
