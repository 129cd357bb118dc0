package deedmqtt

import "sync"

// acks are the messages that are acknowledged by hand and are not yet, in the order they
// came.
type acks struct {
	mu      sync.Mutex
	waiting []*ack
}

type ack struct {
	send func() error
	due  bool // but for those before it
}

// add returns what acknowledges a message: by send, once all before it are.
func (a *acks) add(send func() error) func() error {
	m := &ack{send: send}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, m)
	return func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		m.due = true
		for len(a.waiting) > 0 && a.waiting[0].due {
			if err := a.waiting[0].send(); err != nil {
				return err
			}
			a.waiting[0] = nil
			a.waiting = a.waiting[1:]
		}
		return nil
	}
}
