package deedamqp

import (
	"errors"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// What passes by itself is away, and not refused.
func TestExplain(t *testing.T) {
	for reason, c := range map[string]struct {
		code  int
		means error
	}{
		"NOT_FOUND - no queue 'orders/0' in vhost '/'":                        {amqp.NotFound, driver.ErrNotFound},
		"NOT_FOUND - queue 'orders/0' in vhost '/' process is stopped":        {amqp.NotFound, driver.ErrAway},
		"PRECONDITION_FAILED - inequivalent arg":                              {amqp.PreconditionFailed, driver.ErrRefused},
		"PRECONDITION_FAILED - 'a' does not have a replica on the local node": {amqp.PreconditionFailed, driver.ErrAway},
		"INTERNAL_ERROR": {amqp.InternalError, driver.ErrAway},
		"ACCESS_REFUSED - access to queue 'a' refused": {amqp.AccessRefused, driver.ErrRefused},
	} {
		err := explain(&amqp.Error{Code: c.code, Reason: reason, Server: true})
		if !errors.Is(err, c.means) {
			t.Errorf("%s: %v, want %v", reason, err, c.means)
		}
		for _, other := range []error{driver.ErrAway, driver.ErrRefused, driver.ErrNotFound} {
			if other != c.means && errors.Is(err, other) {
				t.Errorf("%s: %v, which is not %v", reason, err, other)
			}
		}
	}
}
