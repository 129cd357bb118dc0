package deedamqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// meanings are what the codes of AMQP say to a caller.
var meanings = map[int]struct {
	means error
	hint  string
}{
	amqp.AccessRefused:      {driver.ErrRefused, "the user may not do this (see set_permissions of rabbitmqctl)"},
	amqp.NotFound:           {driver.ErrNotFound, "the server has no such exchange or queue"},
	amqp.PreconditionFailed: {driver.ErrRefused, "it exists with other arguments: delete it, or use another name"},
	amqp.NotAllowed:         {driver.ErrRefused, "the server allows it not"},
	amqp.NotImplemented:     {driver.ErrRefused, "the server is too old for it"},
	amqp.ResourceError:      {driver.ErrAway, "the server is short of something"},
	amqp.ConnectionForced:   {driver.ErrAway, "the server ended the connection"},
	amqp.InternalError:      {driver.ErrAway, "the server failed"},
	amqp.ChannelError:       {driver.ErrAway, "the connection is lost"},
	amqp.FrameError:         {driver.ErrAway, "the connection is lost"},
}

// explain wraps what an error means for the caller.
func explain(err error) error {
	var said *amqp.Error
	if errors.As(err, &said) {
		if said.Code == amqp.NotFound && !notFound(err) || unstarted(said) {
			return fmt.Errorf("%w: the server has not started it yet, or its node is down: %w", driver.ErrAway, err)
		}
		// What the client says by itself of users and virtual hosts is its guess at why a
		// connection broke early.
		if m, ok := meanings[said.Code]; ok && (said.Server || m.means != driver.ErrRefused) {
			return fmt.Errorf("%w: %s: %w", m.means, m.hint, err)
		}
		if said.Code == amqp.AccessRefused {
			return fmt.Errorf("%w: the server hung up on who was to be let in: the user or password is wrong, or the "+
				"connection broke: %w", driver.ErrAway, err)
		}
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	return err
}

// code returns the code of AMQP that an error has, 0 for none.
func code(err error) int {
	var said *amqp.Error
	if errors.As(err, &said) {
		return said.Code
	}
	return 0
}

// notFound reports whether the server has no such exchange or queue. One that it has and has
// not started, as in the first seconds of a node, it says not to find as well, in other words.
func notFound(err error) bool {
	var said *amqp.Error
	return errors.As(err, &said) && said.Code == amqp.NotFound &&
		(!said.Server || strings.Contains(said.Reason, "NOT_FOUND - no "))
}

// unstarted reports whether a stream is there, and the node has not begun to serve it: it was
// ended while it made it, or has just been started.
func unstarted(said *amqp.Error) bool {
	return said.Code == amqp.PreconditionFailed &&
		strings.Contains(said.Reason, "does not have a replica on the local node")
}

// fail names what was tried in an error that is not nil.
func (c *Conn) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil && !errors.Is(err, driver.ErrClosed) {
		err = fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("deedamqp: %s: %w", what, explain(err))
}
