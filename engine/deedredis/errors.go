package deedredis

import (
	"context"
	"errors"
	"fmt"
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
}{
	{"OOM", driver.ErrFull, "the server is at its maxmemory (raise it, or let groups get on and topics be swept)"},
	{"READONLY", driver.ErrNotStored, "the server is a replica now"},
	{"LOADING", driver.ErrNotStored, "the server is loading its data"},
	{"MISCONF", driver.ErrNotStored, "the server cannot save to its disk"},
	{"MASTERDOWN", driver.ErrNotStored, "the replica has lost its master"},
	{"CLUSTERDOWN", driver.ErrNotStored, "a part of the cluster is down"},
	{"TRYAGAIN", driver.ErrNotStored, "a slot is being moved"},
	{"NOREPLICAS", driver.ErrNotStored, "too few replicas are there (see min-replicas-to-write)"},
	{"BUSY", driver.ErrNotStored, "another script is running"},
	{"NOAUTH", driver.ErrRefused, "the server wants a user and password (redis://USER:PASSWORD@HOST)"},
	{"WRONGPASS", driver.ErrRefused, "the user or password is wrong"},
	{"NOPERM", driver.ErrRefused, "the user may not do this (see docs/guides/redis.md for the rules it needs)"},
	{"WRONGTYPE", driver.ErrRefused, "a key of deed's has another type: something else writes it"},
	{"SELECT is not allowed in cluster mode", driver.ErrRefused, "a cluster has database 0 only"},
	{"DB index is out of range", driver.ErrRefused, "the server has no database of this number (see its databases)"},
}

// explain wraps what an error of the client or server means for the caller.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if server, ok := rueidis.IsRedisErr(err); ok {
		text := server.Error() + " "
		for _, r := range refusals {
			if strings.HasPrefix(text, r.words+" ") {
				return fmt.Errorf("%w: %s: %w", r.err, r.hint, err)
			}
		}
		return err
	}
	var op *net.OpError
	switch {
	case errors.Is(err, rueidis.ErrClosing):
		return fmt.Errorf("%w: %w", driver.ErrClosed, err)
	case isUntrusted(err):
		return fmt.Errorf("%w: the server's certificate is not trusted (name its authority by ca=FILE): %w",
			driver.ErrRefused, err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w", driver.ErrNotStored, err)
	}
	return err
}

func isNoScript(err error) bool {
	server, ok := rueidis.IsRedisErr(err)
	return ok && server.IsNoScript()
}

func isReadOnly(err error) bool {
	server, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(server.Error(), "READONLY")
}

// fail names what was tried in an error that is not nil.
func (c *Conn) fail(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("deedredis: %s: %w", what, explain(err))
}
