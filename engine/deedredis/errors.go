package deedredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// refusals are the first words of errors by which a server says that it did nothing,
// and what can be done.
var refusals = []struct {
	words string
	err   error
	hint  string
	away  bool // and it will be there again by itself
}{
	{"OOM", driver.ErrFull, "the server is at its maxmemory (raise it, or let groups get on and topics be swept)", false},
	{"READONLY", driver.ErrNotStored, "the server is a replica now", true},
	{"LOADING", driver.ErrNotStored, "the server is loading its data", true},
	{"MISCONF", driver.ErrNotStored, "the server cannot save to its disk", false},
	{"MASTERDOWN", driver.ErrNotStored, "the replica has lost its master", true},
	{"CLUSTERDOWN", driver.ErrNotStored, "a part of the cluster is down", true},
	{"TRYAGAIN", driver.ErrNotStored, "a slot is being moved", true},
	{"NOREPLICAS", driver.ErrNotStored, "too few replicas are there (see min-replicas-to-write)", false},
	{"BARRED", driver.ErrNotStored, "another program added an entry with such an id, and no event fits behind it; " +
		"XDEL it, then XSETID, see docs/guides/redis.md", false},
	{"NOSCRIPT", driver.ErrNotStored, "the server has lost its scripts", true},
	{"BUSY", driver.ErrNotStored, "another script is running", false},
	{"NOAUTH", driver.ErrRefused, "the server wants a user and password (redis://USER:PASSWORD@HOST)", false},
	{"WRONGPASS", driver.ErrRefused, "the user or password is wrong", false},
	{"NOPERM", driver.ErrRefused, "the user may not do this (see docs/guides/redis.md for the rules it needs)", false},
	{"WRONGTYPE", driver.ErrRefused, "a key of deed's has another type: something else writes it", false},
	{"SELECT is not allowed in cluster mode", driver.ErrRefused, "a cluster has database 0 only", false},
	{"DB index is out of range", driver.ErrRefused, "the server has no database of this number (see databases)", false},
}

// explain wraps what an error of the client or server means for the caller.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var server *rueidis.RedisError
	if errors.As(err, &server) {
		text := server.Error() + " "
		for _, r := range refusals {
			if strings.HasPrefix(text, r.words+" ") {
				if r.away {
					return fmt.Errorf("%w: %w: %s: %w", r.err, driver.ErrAway, r.hint, err)
				}
				return fmt.Errorf("%w: %s: %w", r.err, r.hint, err)
			}
		}
		return err
	}
	var op *net.OpError
	var network net.Error
	switch {
	case isUntrusted(err):
		return fmt.Errorf("%w: the server's certificate is not trusted (name its authority by ca=FILE): %w",
			driver.ErrRefused, err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w: %w", driver.ErrNotStored, driver.ErrAway, err)
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, rueidis.ErrClosing):
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	return err
}

func isNoScript(err error) bool {
	server, ok := rueidis.IsRedisErr(err)
	return ok && server.IsNoScript()
}

// fail names what was tried in an error that is not nil.
func (c *Conn) fail(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, rueidis.ErrClosing) && c.ctx != nil && c.ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	return fmt.Errorf("deedredis: %s: %w", what, explain(err))
}
