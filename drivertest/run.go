package drivertest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is how a check ended.
type Status string

// The statuses.
const (
	Passed      Status = "passed"
	Failed      Status = "failed"
	NotPromised Status = "not promised"
)

// Result is the outcome of one check.
type Result struct {
	Check  Check
	Status Status
	Detail string // what failed or was measured, or why it is not promised
	Took   time.Duration
}

// checkTimeout bounds a check. None should come near it: every wait inside one is
// bounded by patience.
const checkTimeout = 2 * time.Minute

// Run runs checks in turn, without package testing, and calls progress after each,
// which may be nil. It stops early when ctx ends.
func Run(ctx context.Context, h Harness, checks []Check, progress func(Result)) []Result {
	var results []Result
	for _, c := range checks {
		if ctx.Err() != nil {
			break
		}
		r := runOne(ctx, h, c)
		results = append(results, r)
		if progress != nil {
			progress(r)
		}
	}
	return results
}

// runOne runs a check in a goroutine of its own, since Fatalf ends the goroutine
// that calls it, and an engine may panic or hang.
func runOne(ctx context.Context, h Harness, c Check) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	r := &recorder{}
	r.ctx, r.cancel = context.WithCancel(ctx)
	start := time.Now()
	done := make(chan string, 1)
	go func() {
		var reason string
		// Ends with the deferred calls, Fatalf or not: first the panic, then the clean-up.
		defer func() { done <- reason }()
		defer r.cleanUp()
		defer r.catch()
		reason = c.Test(r, h)
	}()
	result := Result{Check: c, Status: Passed}
	var reason string
	select {
	case reason = <-done:
	case <-afterGrace(ctx):
		r.Errorf("the check does not end: a call of the engine hangs")
	}
	result.Took = time.Since(start)
	failed, text := r.report()
	switch {
	case failed:
		result.Status, result.Detail = Failed, text
	case reason != "":
		result.Status, result.Detail = NotPromised, reason
	default:
		result.Detail = text
	}
	return result
}

// afterGrace is closed some time after ctx is done, in which a check that heeds
// its context cleans up.
func afterGrace(ctx context.Context) <-chan struct{} {
	late := make(chan struct{})
	context.AfterFunc(ctx, func() {
		time.AfterFunc(patience, func() { close(late) })
	})
	return late
}

// recorder is the T of Run.
type recorder struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	failed   bool
	lines    []string
	cleanups []func()
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) cleanUp() {
	r.cancel()
	r.mu.Lock()
	cleanups := slices.Clone(r.cleanups)
	r.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		func() {
			defer r.catch()
			f()
		}()
	}
}

// catch is deferred: it turns a panic of the engine into a failure.
func (r *recorder) catch() {
	if p := recover(); p != nil {
		r.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

func (r *recorder) report() (failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed, strings.Join(r.lines, "\n")
}
