package deednats

import (
	"context"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/natstest"
)

func harness(url string) drivertest.Harness {
	return drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) {
			c, err := Open(ctx, url, nil)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Freeze: func(c driver.Conn) { c.(*Conn).Freeze() },
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Test(t, harness(natstest.Start(t).URL()))
}

func TestConformanceOnOldServer(t *testing.T) {
	t.Parallel()
	drivertest.Test(t, harness(natstest.StartOld(t).URL()))
}
