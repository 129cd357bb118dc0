package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/deedgo/deed/driver"
)

// A server loses what it had acknowledged when it is killed without having synced it,
// when its disk is replaced, or when a replica that was behind takes over. What is left is
// all that there was up to some moment, so positions, claims and side logs of a
// partition fit together; what members and publishers remember does not. So a member
// that connects anew compares, and starts again from what the server says.

var (
	errGone    = fmt.Errorf("%w: the topic or group is gone", driver.ErrNotFound)
	errDeleted = fmt.Errorf("%w: the topic or group was deleted", driver.ErrNotFound)
	errLost    = fmt.Errorf("%w: %w: nobody has deleted the topic or group", driver.ErrNotFound, driver.ErrLost)
)

// deletedGroup and a group's name is a field of the topic's record: the group was
// deleted, and not lost.
const deletedGroup = "gone "

// missing is what a topic is of which the server has no record, or one of its deletion.
// A topic that is deleted leaves its record, so that one without was lost, if it was
// ever there.
func (c *Conn) missing(name string, noRecord bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.topics, name)
	if noRecord && c.made[name] {
		return fmt.Errorf("%w: topic %s", errLost, name)
	}
	delete(c.made, name)
	return fmt.Errorf("%w: topic %s", driver.ErrNotFound, name)
}

// replaced tells how a generation ended that t is not: whatever is behind the one that was
// deleted last was lost.
func (t *topic) replaced(generation int) error {
	if generation > t.before {
		return errLost
	}
	return errDeleted
}

// otherLife is why a batch is refused that was meant for another generation.
func (c *Conn) otherLife(ctx context.Context, b *driver.Batch) error {
	t, err := c.lookup(ctx, b.Topic)
	if err != nil {
		return err
	}
	err = fmt.Errorf("%w: the topic is at generation %d, the batch at %d (describe the topic again)",
		driver.ErrRefused, t.info.Generation, b.Generation)
	if errors.Is(t.replaced(b.Generation), driver.ErrLost) {
		err = fmt.Errorf("%w: %w", driver.ErrLost, err)
	}
	return err
}

// gone is why a group that had members is not there any more.
func (s *subscription) gone(ctx context.Context) error {
	t, err := s.c.lookup(ctx, s.spec.Topic)
	if err != nil {
		return err
	}
	if t.info.Incarnation != s.topic.info.Incarnation {
		return t.replaced(s.topic.info.Generation)
	}
	b := s.c.client.B()
	there, err := s.c.client.Do(ctx, b.Exists().Key(s.c.keys.group(s.spec.Topic, s.spec.Group)).Build()).AsBool()
	if err != nil {
		return err
	}
	if there {
		s.c.keeper.Nudge()
		return errors.New("the group was made anew") // which the next view shows
	}
	deleted, err := s.c.client.Do(ctx, b.Hexists().Key(s.c.keys.topic(s.spec.Topic)).
		Field(deletedGroup+s.spec.Group).Build()).AsBool()
	switch {
	case err != nil:
		return err
	case deleted:
		return errDeleted
	}
	return errLost
}

// check returns the partitions that the server has lost something of.
func (s *subscription) check(ctx context.Context, partitions []int) (lost []int, err error) {
	var calls []call
	var of []int
	for _, p := range partitions {
		x := s.places[p]
		if x == nil {
			continue
		}
		claim := s.c.keys.claim(s.spec.Topic, p, s.spec.Group)
		args := []string{s.seat.Name(), s.c.under(claim, x.epoch), s.storedBefore(p, x.epoch), x.next.String()}
		calls, of = append(calls, call{keptScript, []string{claim, s.topic.keys[p][0]}, args}), append(of, p)
	}
	if len(calls) == 0 {
		return nil, nil
	}
	for i, r := range s.c.runAll(ctx, calls) {
		word, err := r.ToString()
		if err != nil {
			return lost, err
		}
		if word == "lost" {
			p := of[i]
			lost = append(lost, p)
			s.seat.Forget(p, s.places[p].epoch)
			delete(s.places, p)
		}
	}
	return lost, nil
}

// note remembers what was stored, to know it when the server does not any more.
func (s *subscription) note(st driver.Settlement) {
	if st.Position == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[st.Partition] = st
}

// storedBefore returns the position that was stored last under an epoch.
func (s *subscription) storedBefore(partition int, epoch int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.stored[partition]; st.Epoch == epoch {
		return st.Position
	}
	return ""
}

// written counts the writes to a side log that were acknowledged under an epoch. The
// server counts them too: one that has fewer has lost some.
type written struct{ epoch, writes int64 }

// under is a claim's epoch and how often it has written, as the scripts compare them.
func (c *Conn) under(claim string, epoch int64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes[claim]
	if w.epoch != epoch {
		w.writes = 0
	}
	return strconv.FormatInt(epoch, 10) + ":" + strconv.FormatInt(w.writes, 10)
}

// wrote counts a script of the side log that was run, if it writes.
func (c *Conn) wrote(s *script, claim string, epoch int64, err error) {
	if err != nil || s != parkScript && s != unparkScript {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes[claim]
	switch {
	case w.epoch > epoch:
	case w.epoch < epoch:
		c.writes[claim] = written{epoch, 1}
	default:
		c.writes[claim] = written{epoch, w.writes + 1}
	}
}
