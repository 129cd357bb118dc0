package deedmqtt

import (
	"context"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/mqtttest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	url := mqtttest.Start(t).URL()
	for name, query := range map[string]string{"bare": "", "prefix": "?prefix=house/1", "3.1.1": "?version=3.1.1"} {
		t.Run(name, func(t *testing.T) {
			drivertest.Test(t, drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) {
				return Open(ctx, url+query)
			}})
		})
	}
}
