package notification_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/notification"
	"github.com/deedgo/deed/examples/orders/service"
	"github.com/deedgo/deed/examples/orders/service/servicetest"
)

// A mail service that loses its first answer sees the same key again, and another
// key for another order.
func TestKeys(t *testing.T) {
	var mu sync.Mutex
	calls := make(map[string][]string) // keys by order
	mails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var mail notification.Mail
		if err := json.NewDecoder(r.Body).Decode(&mail); err != nil {
			t.Errorf("mail: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		calls[mail.Order] = append(calls[mail.Order], r.Header.Get("Idempotency-Key"))
		if len(calls[mail.Order]) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer mails.Close()
	s := servicetest.Start(t, func(ctx context.Context, cfg service.Config) error {
		return notification.Run(ctx, cfg, mails.URL)
	})
	s.Publish(events.OrderConfirmed.New(events.Confirmed{OrderID: "a", Customer: "c1"}),
		events.OrderCancelled.New(events.Cancelled{OrderID: "b", Customer: "c2", Reason: "no lamps"}))
	s.Await("two calls for each order", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(calls["a"]) == 2 && len(calls["b"]) == 2
	})
	mu.Lock()
	defer mu.Unlock()
	a, b := calls["a"], calls["b"]
	if a[0] != a[1] || b[0] != b[1] || a[0] == b[0] || a[0] == "" {
		t.Errorf("keys are %q and %q", a, b)
	}
}
