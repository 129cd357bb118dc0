package deedmqtt

import (
	"errors"
	"slices"
	"testing"
)

// Acknowledgements are sent in the order of the messages, each once.
func TestAcknowledgementsInOrder(t *testing.T) {
	t.Parallel()
	var a acks
	var sent []int
	var send []func() error
	for i := range 5 {
		send = append(send, a.add(func() error { sent = append(sent, i); return nil }))
	}
	for _, step := range []struct {
		ack  int
		want []int
	}{
		{1, nil}, {2, nil}, {0, []int{0, 1, 2}}, {0, []int{0, 1, 2}}, {4, []int{0, 1, 2}}, {3, []int{0, 1, 2, 3, 4}},
	} {
		if err := send[step.ack](); err != nil || !slices.Equal(sent, step.want) {
			t.Errorf("after %d: sent %v, want %v; %v", step.ack, sent, step.want, err)
		}
	}
	lost := errors.New("lost")
	if err := a.add(func() error { return lost })(); !errors.Is(err, lost) {
		t.Errorf("an acknowledgement over a lost connection: %v", err)
	}
}
