package driverkit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/deedgo/deed/driver"
)

// WithState returns a connection whose topics, groups and positions are log's, and whose
// claims, side log and records are state's: for engines that have no place for these. It
// owns both connections from then on.
//
// A partition of a topic has a topic of its own in state, "ENGINE/TOPIC/PARTITION", without
// events. Whoever log gives a partition to joins the group on that too, and hands out its
// claim there. So a member is fenced twice: log refuses its positions, state what it parks.
//
// A log that is a [Feeder] has events and nothing else: there all but these is the state's.
//
// A state that does not count positions, or keeps no side log and records, is ErrRefused.
func WithState(log, state driver.Conn) (driver.Conn, error) {
	l, s := log.Features(), state.Features()
	feeder, feeds := driver.As[Feeder](log)
	switch {
	case feeds:
		return newFed(l, feeder, state)
	case l.SideLog:
		return nil, fmt.Errorf("%w: %s keeps its own state, and takes no second engine for it", driver.ErrRefused, l.Engine)
	case !l.Groups || !l.Fenced:
		return nil, fmt.Errorf("%w: %s has no groups that a state could be kept for", driver.ErrRefused, l.Engine)
	case !s.SideLog || !s.Records || !s.DensePos:
		return nil, fmt.Errorf("%w: %s cannot keep the state of %s (want sqlite, postgres or mysql)",
			driver.ErrRefused, s.Engine, l.Engine)
	}
	c := &stateful{Conn: log, features: l}
	c.book = book{state: state, place: func(topic string, p int) (string, int) { return c.shadow(topic, p), 0 },
		named: func(shadow string, _ int) (string, int, bool) { return c.shadowed(shadow) }}
	c.features.SideLog, c.features.Records = true, true
	c.features.MultiProcess = l.MultiProcess && s.MultiProcess
	if s.Durability < l.Durability {
		c.features.Durability, c.features.Setting = s.Durability, s.Setting
	}
	var has [8]bool
	c.topicStore, has[0] = driver.As[driver.Topics](log)
	c.groupStore, has[1] = driver.As[driver.Groups](log)
	c.recordStore, has[2] = driver.As[driver.Records](state)
	c.shadows, has[3] = driver.As[driver.Topics](state)
	c.groups, has[4] = driver.As[driver.Groups](state)
	c.side, has[5] = driver.As[driver.SideLog](state)
	c.letters, has[6] = driver.As[driver.Letters](state)
	c.fence, has[7] = driver.As[driver.Resetter](state)
	for i, ok := range has {
		if !ok {
			return nil, fmt.Errorf("%w: %s and %s do not go together: interface %d is missing",
				driver.ErrRefused, l.Engine, s.Engine, i)
		}
	}
	if c.resetter, has[0] = driver.As[driver.Resetter](log); l.Reset && !has[0] {
		return nil, fmt.Errorf("%w: %s promises resets and does none", driver.ErrRefused, l.Engine)
	}
	return c, nil
}

// Embedded, these have names other than the methods that they bring.
type (
	topicStore  interface{ driver.Topics }
	groupStore  interface{ driver.Groups }
	recordStore interface{ driver.Records }
)

// stateful is the connection of WithState.
type stateful struct {
	driver.Conn // the log's, as are the next three
	topicStore
	groupStore
	resetter driver.Resetter // nil where it does not reset

	book // the state's, as are the next four
	recordStore
	shadows  driver.Topics
	fence    driver.Resetter
	groups   driver.Groups
	features driver.Features
	marked   sync.Map // claims of the state, as markedBy tells, that may have marks
}

// Unwrap lets driver.As find what the log has beside.
func (c *stateful) Unwrap() driver.Conn { return c.Conn }

// Parts returns the two connections of one that WithState made.
func Parts(conn driver.Conn) (log, state driver.Conn, ok bool) {
	switch c := conn.(type) {
	case *stateful:
		return c.Conn, c.state, true
	case *fed:
		return c.log, c.state, true
	}
	return nil, nil, false
}

// Features implements [driver.Conn].
func (c *stateful) Features() driver.Features { return c.features }

// Close implements [driver.Conn].
func (c *stateful) Close() error { return errors.Join(c.Conn.Close(), c.state.Close()) }

// shadow is the state's topic of a partition.
func (c *stateful) shadow(topic string, partition int) string {
	return c.features.Engine + "/" + topic + "/" + strconv.Itoa(partition)
}

// shadowed is its reverse; a topic of the state's own is none.
func (c *stateful) shadowed(name string) (topic string, partition int, ok bool) {
	name, ok = strings.CutPrefix(name, c.features.Engine+"/")
	i := strings.LastIndexByte(name, '/')
	if !ok || i < 0 {
		return "", 0, false
	}
	partition, err := strconv.Atoi(name[i+1:])
	return name[:i], partition, err == nil
}

// eachShadow calls do for the state's topic of every partition, and passes over those that
// are not there.
func (c *stateful) eachShadow(partitions int, topic string, do func(shadow string) error) error {
	for p := range partitions {
		if err := do(c.shadow(topic, p)); err != nil && !errors.Is(err, driver.ErrNotFound) {
			return fmt.Errorf("state of %s: %w", topic, err)
		}
	}
	return nil
}

// DeleteTopic implements [driver.Topics].
func (c *stateful) DeleteTopic(ctx context.Context, name string) error {
	info, err := c.Topic(ctx, name)
	if err != nil {
		return err
	}
	if err := c.topicStore.DeleteTopic(ctx, name); err != nil {
		return err
	}
	return c.eachShadow(info.Partitions, name, func(shadow string) error { return c.shadows.DeleteTopic(ctx, shadow) })
}

// DeleteGroup implements [driver.Groups].
func (c *stateful) DeleteGroup(ctx context.Context, group, topic string) error {
	info, err := c.Topic(ctx, topic)
	if err != nil {
		return err
	}
	if err := c.groupStore.DeleteGroup(ctx, group, topic); err != nil {
		return err
	}
	return c.eachShadow(info.Partitions, topic, func(shadow string) error {
		return c.groups.DeleteGroup(ctx, group, shadow)
	})
}

// ResetGroup implements [driver.Resetter]. The log has the positions; in the state the
// reset takes the claims away.
func (c *stateful) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	if c.resetter == nil {
		return fmt.Errorf("%s resets no groups: %w", c.features.Engine, errors.ErrUnsupported)
	}
	info, err := c.Topic(ctx, topic)
	if err != nil {
		return err
	}
	if err := c.resetter.ResetGroup(ctx, group, topic, r); err != nil {
		return err
	}
	return c.eachShadow(info.Partitions, topic, func(shadow string) error {
		return c.fence.ResetGroup(ctx, group, shadow, driver.Reset{Fence: true})
	})
}

// Lag implements [driver.Groups]: the log's, with what the state has set apart.
func (c *stateful) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	lags, err := c.groupStore.Lag(ctx, group, topic)
	if err != nil || len(lags) == 0 {
		return lags, err
	}
	all, err := c.groups.Lag(ctx, group, "")
	if err != nil {
		return nil, err
	}
	states := make(map[key]driver.PartitionLag, len(all))
	for _, l := range all {
		states[key{l.Group, l.Topic}] = l
	}
	runs, err := runs(ctx, c)
	if err != nil {
		return nil, err
	}
	for i := range lags {
		l := &lags[i]
		s, ok := states[key{l.Group, c.shadow(l.Topic, l.Partition)}]
		if !ok {
			continue
		}
		l.Parked, l.Dead, l.Epoch = s.Parked, s.Dead, s.Epoch
		if l.Events == 0 || s.Parked+s.Dead == 0 {
			continue
		}
		apart, err := c.apart(ctx, l, c.shadow(l.Topic, l.Partition), runs[key{l.Group, l.Topic}])
		if err != nil {
			return nil, err
		}
		l.Events = max(0, l.Events-int64(len(apart)))
	}
	return lags, nil
}

// key is a group on a topic, of the log or the state.
type key struct{ group, topic string }

// above compares positions, which are numbers.
func above(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a > b }
