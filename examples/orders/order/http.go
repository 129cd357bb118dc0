package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service"
)

// Prices is what the shop sells, in cents a piece.
var Prices = map[string]events.Money{
	"lamp": 3990, "chair": 12900, "desk": 34900, "rug": 8950, "vase": 2475,
}

// Request is the body of POST /orders.
type Request struct {
	Customer string          `json:"customer"`
	Items    []events.Wanted `json:"items"`
}

func (o *orders) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.post)
	mux.HandleFunc("GET /orders/{id}", o.get)
	return mux
}

// post takes an order. Its Idempotency-Key becomes the order's id, so that a
// customer who heard no answer may ask again: 201 the first time, 200 after that.
func (o *orders) post(w http.ResponseWriter, r *http.Request) {
	order, err := readOrder(r)
	if err != nil {
		service.WriteError(w, http.StatusBadRequest, err)
		return
	}
	stored, created, err := o.create(r.Context(), order)
	switch {
	case errors.Is(err, errOtherOrder):
		service.WriteError(w, http.StatusConflict, err)
	case err != nil:
		service.WriteError(w, http.StatusInternalServerError, err)
	case created:
		service.WriteJSON(w, http.StatusCreated, stored)
	default:
		service.WriteJSON(w, http.StatusOK, stored)
	}
}

func (o *orders) get(w http.ResponseWriter, r *http.Request) {
	order, err := find(r.Context(), o.db.SQL(), r.PathValue("id"))
	switch {
	case errors.Is(err, errNotFound):
		service.WriteError(w, http.StatusNotFound, err)
	case err != nil:
		service.WriteError(w, http.StatusInternalServerError, err)
	default:
		service.WriteJSON(w, http.StatusOK, order)
	}
}

const maxBody = 64 << 10 // bytes of a request

func readOrder(r *http.Request) (Order, error) {
	id := r.Header.Get("Idempotency-Key")
	if id == "" {
		return Order{}, errors.New("header Idempotency-Key is missing (send the order's id)")
	}
	var body Request
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&body); err != nil {
		return Order{}, fmt.Errorf("body: %w", err)
	}
	return newOrder(id, body)
}

// newOrder turns what is wanted into an order with prices, or says what is wrong.
func newOrder(id string, wanted Request) (Order, error) {
	order := Order{ID: id, Status: statusCreated}
	if id == "" || wanted.Customer == "" || len(wanted.Items) == 0 {
		return Order{}, errors.New("an id, customer and items are required")
	}
	for i, item := range wanted.Items {
		price, ok := Prices[item.SKU]
		if !ok || item.Quantity < 1 {
			return Order{}, fmt.Errorf("items[%d]: %d of %q (want at least 1 of a thing that we sell)",
				i, item.Quantity, item.SKU)
		}
		order.Items = append(order.Items, events.Item{SKU: item.SKU, Quantity: item.Quantity, Price: price})
		order.Total += price * events.Money(item.Quantity)
	}
	order.Customer = wanted.Customer
	order.Created = time.Now().UTC().Truncate(time.Millisecond)
	return order, nil
}

func sameOrder(a, b Order) bool {
	return a.Customer == b.Customer && slices.Equal(a.Items, b.Items)
}
