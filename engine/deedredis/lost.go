package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

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

// streamGone is why a batch is not stored whose partition has its marker and no stream.
func (c *Conn) streamGone(b *driver.Batch) error {
	return fmt.Errorf("%w: %w: the stream %s is gone: somebody deleted it, or the server lost it (to start it empty, delete "+
		"%s:meta too, and `deed topics create %s`; the outbox publishes again what it keeps)",
		driver.ErrNotStored, driver.ErrLost, c.keys.log(b.Topic, b.Partition), c.keys.log(b.Topic, b.Partition), b.Topic)
}

// markerGone is why a batch is not stored whose partition has no marker.
func markerGone(b *driver.Batch) error {
	return fmt.Errorf("%w: %w: the partition has no marker: the server has lost it, and what was stored with it (to start it "+
		"empty, `deed topics create %s` or start a service again; the outbox publishes again what it keeps)",
		driver.ErrNotStored, driver.ErrLost, b.Topic)
}

// survivor is what is left of a topic whose record was lost, as on a cluster with the
// node that had it: the generation and incarnation of its partitions' markers.
func (c *Conn) survivor(ctx context.Context, name string, partitions int) (generation, incarnation string, err error) {
	cmds := make(rueidis.Commands, partitions)
	for p := range cmds {
		cmds[p] = c.client.B().Hmget().Key(c.keys.partition(name, p)[1]).Field("generation", "incarnation").Build()
	}
	for _, r := range c.client.DoMulti(ctx, cmds...) {
		pair, err := r.AsStrSlice()
		if err != nil {
			return "", "", err
		}
		if pair[0] != "" && (len(pair[0]) > len(generation) || len(pair[0]) == len(generation) && pair[0] > generation) {
			generation, incarnation = pair[0], pair[1]
		}
	}
	return generation, incarnation, nil
}

// whole reports whether every partition of a topic has its marker.
func (c *Conn) whole(ctx context.Context, t *topic) (bool, error) {
	cmds := make(rueidis.Commands, len(t.keys))
	for p, keys := range t.keys {
		cmds[p] = c.client.B().Exists().Key(keys[1]).Build()
	}
	for _, r := range c.client.DoMulti(ctx, cmds...) {
		if there, err := r.AsBool(); err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// replace makes a group's claims that the server has lost, at the beginning of partitions
// that somebody has started anew. Those that are lost too wait for that; the others go on.
func (c *Conn) replace(ctx context.Context, own ownSeat, missing []int) error {
	calls := make([]call, len(missing))
	for i, p := range missing {
		calls[i] = call{startScript, c.keys.partition(own.topic, p)[:2], []string{own.group, "first", ""}}
	}
	for _, r := range c.runAll(ctx, calls) {
		answer, err := r.AsStrSlice()
		if err != nil {
			return err
		}
		if answer[0] == "ok" {
			c.keeper.Nudge()
		}
	}
	return nil
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
