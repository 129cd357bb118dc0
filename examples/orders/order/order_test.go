package order_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/deedgo/deed/examples/orders/order"
	"github.com/deedgo/deed/examples/orders/service"
)

// start runs the service alone and returns its address.
func start(t *testing.T) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, says := io.Pipe()
	dir := t.TempDir()
	var running sync.WaitGroup
	running.Go(func() {
		err := order.Run(ctx, service.Config{Bus: "sqlite:" + dir + "/bus.db", Dir: dir, Ready: says})
		says.CloseWithError(err)
		if err != nil {
			t.Errorf("order: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "ready "))
}

func TestHTTP(t *testing.T) {
	url := start(t)
	call := func(method, path, key, body string) (status int, o order.Order) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return resp.StatusCode, o
	}
	lamps := `{"customer": "c1", "items": [{"sku": "lamp", "quantity": 2}]}`
	for _, step := range []struct {
		name, method, path, key, body string
		want                          int
	}{
		{"the first time", http.MethodPost, "/orders", "a", lamps, http.StatusCreated},
		{"asked again", http.MethodPost, "/orders", "a", lamps, http.StatusOK},
		{"another order under its key", http.MethodPost, "/orders", "a",
			`{"customer": "c1", "items": [{"sku": "rug", "quantity": 2}]}`, http.StatusConflict},
		{"without a key", http.MethodPost, "/orders", "", lamps, http.StatusBadRequest},
		{"nothing ordered", http.MethodPost, "/orders", "b", `{"customer": "c1"}`, http.StatusBadRequest},
		{"what we do not sell", http.MethodPost, "/orders", "b",
			`{"customer": "c1", "items": [{"sku": "car", "quantity": 1}]}`, http.StatusBadRequest},
		{"no JSON", http.MethodPost, "/orders", "b", `lamp`, http.StatusBadRequest},
		{"a known order", http.MethodGet, "/orders/a", "", "", http.StatusOK},
		{"an unknown one", http.MethodGet, "/orders/b", "", "", http.StatusNotFound},
	} {
		status, o := call(step.method, step.path, step.key, step.body)
		if status != step.want {
			t.Errorf("%s: %d, want %d", step.name, status, step.want)
		}
		if status < 300 && (o.ID != "a" || o.Total != 7980 || o.Status != "created") {
			t.Errorf("%s: %+v", step.name, o)
		}
	}
}
