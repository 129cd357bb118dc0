package deednats

import (
	"context"
	"encoding/json"

	"github.com/deedgo/deed/driver"
)

// SetTopic implements [driver.Topics].
func (c *Conn) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("set topic "+name, c.set(ctx, name, s))
}

func (c *Conn) set(ctx context.Context, name string, s driver.TopicSettings) error {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	asked := s
	if s, err = c.complete(name, s); err != nil {
		return t.alter(asked, err)
	}
	if err := t.info.Alter(s); err != nil {
		return err
	}
	stream, err := c.handle(ctx, t.log)
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	var d description
	if err := json.Unmarshal([]byte(config.Description), &d); err != nil {
		return err
	}
	d.take(s)
	if err := describeIn(&config, d); err != nil {
		return err
	}
	within, cancel := c.within(ctx)
	defer cancel()
	if _, err := c.js.UpdateStream(within, config); err != nil {
		return err
	}
	_, err = c.lookup(ctx, name)
	return err
}

// alter prefers to say that a setting is fixed, where it is no setting here either.
func (t *topic) alter(asked driver.TopicSettings, err error) error {
	if asked.Pack != t.info.Pack || asked.Streams != t.info.Streams {
		return t.info.Alter(asked)
	}
	return err
}

// DeleteTopic implements [driver.Topics]. What is left says that it was deleted, so that
// the next topic of the name is another generation.
func (c *Conn) DeleteTopic(ctx context.Context, name string) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("delete topic "+name, c.remove(ctx, name))
}

func (c *Conn) remove(ctx context.Context, name string) error {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	_, err = changeDoc(ctx, c, c.names.life(name), func(l *lifeDoc) error {
		l.Deleted = true
		return nil
	})
	if err != nil {
		return err
	}
	within, cancel := c.within(ctx)
	defer cancel()
	for _, stream := range []string{t.groups, t.log} { // the log last: while it is there all of it can be repeated
		if err := c.js.DeleteStream(within, stream); err != nil && code(err) != codeNoStream {
			return err
		}
	}
	err = c.purge(ctx, c.names.meta(), c.names.docs(t.life)+".>", 0)
	c.mu.Lock()
	delete(c.topics, name)
	delete(c.made, name)
	delete(c.handles, t.log)
	delete(c.handles, t.groups)
	c.mu.Unlock()
	c.announce()
	return err
}
