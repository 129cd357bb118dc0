package system

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/order"
)

// scarce is the thing of which there is not enough for everybody.
const scarce = "vase"

// deliverStock fills the shelves and returns what it put there.
func deliverStock(ctx context.Context, s *services, orders int) (map[string]int, error) {
	stock := make(map[string]int)
	for sku := range order.Prices {
		stock[sku] = 3 * orders
		if sku == scarce {
			stock[sku] = orders / 5
		}
		body := fmt.Sprintf(`{"on_hand": %d}`, stock[sku])
		status, err := call(ctx, http.MethodPut, s.url(inventoryService)+"/stock/"+sku, "", []byte(body), nil)
		if err != nil || status != http.StatusNoContent {
			return nil, fmt.Errorf("deliver %s: inventory answered %d: %w", sku, status, err)
		}
	}
	return stock, nil
}

// traffic is what the customers remember.
type traffic struct {
	accepted map[string]order.Request // by order id: the shop said yes
	repeated int                      // requests sent again because no answer came
	lost     int                      // of these, orders that had been taken: only the answer was lost
	killed   int                      // services
}

// answered is what one customer has to say.
type answered struct {
	id       string
	request  order.Request
	repeated int
	lost     bool
	err      error
}

const customers = 8 // that order at the same time

// placer places the i-th order and returns when somebody has taken it.
type placer func(ctx context.Context, i int) answered

// drive sends customers to the shop and kills services while they are there.
func drive(ctx context.Context, o Options, s *services, place placer, shown *progress) (*traffic, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	answers := make(chan answered) // unbuffered: nobody runs ahead of the kills
	var wg sync.WaitGroup
	for range customers {
		wg.Go(func() {
			for i := range next {
				select {
				case answers <- place(ctx, i):
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range o.Orders {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()

	t := &traffic{accepted: make(map[string]order.Request)}
	for len(t.accepted) < o.Orders {
		select {
		case a := <-answers:
			if a.err != nil {
				return nil, a.err
			}
			t.accepted[a.id] = a.request
			t.repeated += a.repeated
			if a.lost {
				t.lost++
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		shown.set(len(t.accepted))
		if err := disturb(ctx, s, t, o.Orders, shown); err != nil {
			return nil, err
		}
	}
	shown.clear()
	return t, nil
}

// disturb kills and restarts services at fixed points of the traffic.
func disturb(ctx context.Context, s *services, t *traffic, total int, shown *progress) error {
	accepted, edge := len(t.accepted), s.o.Broker != ""
	kill := func(name, then string) {
		s.kill(name)
		t.killed++
		shown.say("kill -9  %s after %d orders; %s", name, accepted, then)
	}
	restart := func(name, then string) error {
		if err := s.start(ctx, name); err != nil {
			return err
		}
		shown.say("restart  %s%s", name, then)
		return nil
	}
	switch {
	case accepted == total/4:
		kill(inventoryService, "customers go on ordering")
	case accepted == total/3 && edge:
		kill(edgeService, "the broker keeps what the till publishes")
	case accepted == total*5/12 && edge:
		return restart(edgeService, "")
	case accepted == total/2:
		return restart(inventoryService, fmt.Sprintf(", which missed %d orders meanwhile", accepted-total/4))
	case accepted == total*2/3 && edge:
		kill(orderService, "the till notices nothing")
		return restart(orderService, "")
	case accepted == total*2/3:
		kill(orderService, "customers get no answer and ask again")
		return restart(orderService, "")
	}
	return nil
}

// The patience of a customer who gets no answer.
const (
	askAgainAfter = 50 * time.Millisecond
	giveUpAfter   = 30 * time.Second
)

func orderID(i int) string { return fmt.Sprintf("order-%05d", i+1) }

// place orders once, asking again with the same key until there is an answer.
func (s *services) place(ctx context.Context, i int) answered {
	a := answered{id: orderID(i), request: makeRequest(i)}
	body, err := json.Marshal(a.request)
	if err != nil {
		a.err = err
		return a
	}
	deadline := time.Now().Add(giveUpAfter)
	for {
		status, err := call(ctx, http.MethodPost, s.url(orderService)+"/orders", a.id, body, nil)
		switch {
		case err == nil && status == http.StatusCreated:
			return a
		case err == nil && status == http.StatusOK:
			a.lost = true
			return a
		case err == nil && status < http.StatusInternalServerError:
			a.err = fmt.Errorf("%s: the order service answered %d", a.id, status)
			return a
		case ctx.Err() != nil || time.Now().After(deadline):
			a.err = fmt.Errorf("%s: no answer for %v: status %d: %w", a.id, giveUpAfter, status, err)
			return a
		}
		a.repeated++
		pause(ctx, askAgainAfter)
	}
}

// makeRequest makes the i-th order, the same one every time.
func makeRequest(i int) order.Request {
	r := rand.New(rand.NewPCG(1707, uint64(i)))
	skus := slices.Sorted(maps.Keys(order.Prices))
	request := order.Request{Customer: fmt.Sprintf("customer-%02d", 1+r.IntN(40))}
	for _, n := range r.Perm(len(skus))[:1+r.IntN(3)] {
		request.Items = append(request.Items, events.Wanted{SKU: skus[n], Quantity: 1 + r.IntN(3)})
	}
	return request
}

// client gives up on a service that hangs.
var client = &http.Client{Timeout: 10 * time.Second}

// call makes a request and decodes the answer into v, unless that is nil.
func call(ctx context.Context, method, url, key string, body []byte, v any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(answer, v)
	}
	return resp.StatusCode, err
}
