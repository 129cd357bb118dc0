package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// start runs the service on a free port and returns its address and how to stop it.
func start(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx, listener, dir, "sqlite:"+filepath.Join(dir, "bus.db")); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return "http://" + listener.Addr().String(), stop
}

func call(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

const ripley = `{"id":1,"show":"alien","name":"Ripley","seats":2}`

func book(t *testing.T, url string) {
	t.Helper()
	status, answer := call(t, http.MethodPost, url+"/bookings", `{"show": "alien", "name": "Ripley", "seats": 2}`)
	if status != http.StatusCreated || !strings.Contains(answer, `"show":"alien","name":"Ripley","seats":2`) {
		t.Fatalf("booking: %d %s", status, answer)
	}
}

// What the service answered before it had events it answers still.
func TestAPI(t *testing.T) {
	url, _ := start(t, t.TempDir())
	book(t, url)
	for _, c := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{http.MethodGet, "/bookings/1", "", http.StatusOK, ripley},
		{http.MethodGet, "/bookings/2", "", http.StatusNotFound, "no such booking"},
		{http.MethodGet, "/bookings/x", "", http.StatusBadRequest, "the id is a number"},
		{http.MethodPost, "/bookings", `{"show": "alien"}`, http.StatusBadRequest, "show, name and seats are required"},
	} {
		status, answer := call(t, c.method, url+c.path, c.body)
		if status != c.status || answer != c.answer {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, status, answer, c.status, c.answer)
		}
	}
}

// The view counts each booking once, also over a restart.
func TestSeatsAreCounted(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{`{"seats_taken":2,"show":"alien"}`, `{"seats_taken":4,"show":"alien"}`} {
		url, stop := start(t, dir)
		book(t, url)
		awaitAnswer(t, url+"/shows/alien", want)
		stop()
	}
	url, _ := start(t, dir)
	if _, answer := call(t, http.MethodGet, url+"/shows/alien", ""); answer != `{"seats_taken":4,"show":"alien"}` {
		t.Errorf("after a restart: %s", answer)
	}
}

// awaitAnswer asks until the view has caught up.
func awaitAnswer(t *testing.T, url, want string) {
	t.Helper()
	late := time.After(time.Minute)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		_, answer := call(t, http.MethodGet, url, "")
		if answer == want {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s answers %s, want %s", url, answer, want)
		}
	}
}
