package system

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/deedgo/deed/examples/orders/notification"
)

// mailAPI stands in for somebody else's mail service, with the faults that such a
// service has: now and then it fails, is slow, or does the work and loses the
// answer. Like the good ones, it knows a request that it has seen by its key.
type mailAPI struct {
	url    string
	server *http.Server
	done   sync.WaitGroup

	mu       sync.Mutex
	requests int
	again    int               // requests with a key that was known
	mails    map[string]string // order by key
	perOrder map[string]int
}

func startMailAPI() (*mailAPI, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &mailAPI{
		url: "http://" + l.Addr().String(), mails: make(map[string]string), perOrder: make(map[string]int),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /mails", m.post)
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	m.done.Go(func() { _ = m.server.Serve(l) }) // ends by close
	return m, nil
}

// Every how many requests a fault happens.
const (
	failEvery = 13
	loseEvery = 17
	slowEvery = 23
	slowness  = 150 * time.Millisecond
)

func (m *mailAPI) post(w http.ResponseWriter, r *http.Request) {
	var mail notification.Mail
	key := r.Header.Get("Idempotency-Key")
	if err := json.NewDecoder(r.Body).Decode(&mail); err != nil || key == "" {
		http.Error(w, "a mail and an Idempotency-Key, please", http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.requests++
	n := m.requests
	m.mu.Unlock()

	if n%failEvery == 0 {
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	}
	if n%slowEvery == 0 {
		pause(r.Context(), slowness)
	}
	m.accept(key, mail.Order)
	if n%loseEvery == 0 {
		http.Error(w, "the mail is on its way, the answer is not", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// accept sends the mail, unless it was sent.
func (m *mailAPI) accept(key, order string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.mails[key]; known {
		m.again++
		return
	}
	m.mails[key] = order
	m.perOrder[order]++
}

// sent returns how many mails went out for each order.
func (m *mailAPI) sent() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.perOrder)
}

// repeated returns how many requests asked for a mail that had been sent.
func (m *mailAPI) repeated() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.again
}

func (m *mailAPI) close() error {
	err := m.server.Close()
	m.done.Wait()
	return err
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
