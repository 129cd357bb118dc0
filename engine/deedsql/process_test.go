package deedsql

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/testenv"
)

// The tests of this file run the test binary again as other processes on the same
// database: workerEnv says which part a process plays.
const workerEnv = "DEEDSQL_TEST_WORKER"

func TestMain(m *testing.M) {
	part, url, _ := strings.Cut(os.Getenv(workerEnv), ":")
	if part == "" {
		testenv.Parallel(4)
		os.Exit(m.Run())
	}
	if err := work(part, url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// work plays a part until standard input ends.
func work(part, url string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // until the process ends
		bufio.NewReader(os.Stdin).ReadString(0)
		cancel()
	}()
	c, err := Open(ctx, url, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	switch part {
	case "publish":
		return workPublish(ctx, c)
	case "own":
		return workOwn(ctx, c)
	case "move":
		return workMove(ctx, c)
	case "stand still":
		return workStandStill(ctx, c)
	}
	return fmt.Errorf("no part %q", part)
}

// workPublish publishes 200 batches of 10 events under one producer and reports
// the longest time that one took.
func workPublish(ctx context.Context, c *Conn) error {
	slowest := time.Duration(0)
	for i := range 200 {
		bs := events("orders", 2, 10)
		for p := range bs {
			bs[p].Producer, bs[p].Seq = fmt.Sprint("p", os.Getpid()), int64(i*5+1)
		}
		start := time.Now()
		rs, err := c.Publish(ctx, bs)
		if err == nil {
			err = errors.Join(rs[0].Err, rs[1].Err)
		}
		if err != nil {
			return err
		}
		slowest = max(slowest, time.Since(start))
	}
	fmt.Println(slowest)
	return nil
}

// workOwn joins a group, handles nothing and prints what it hears.
func workOwn(ctx context.Context, c *Conn) error {
	s, err := c.Subscribe(ctx, driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for {
		r, err := s.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			return nil
		}
		if err := out.Encode(heard{time.Now(), r}); err != nil {
			return err
		}
	}
}

type heard struct {
	At time.Time
	driver.Received
}

// worker is a process that plays a part.
type worker struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	end   func()
}

func start(t *testing.T, part, url string) *worker {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+part+":"+url)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: cmd, lines: bufio.NewScanner(out)}
	w.lines.Buffer(nil, 1<<20)
	w.end = sync.OnceFunc(func() {
		in.Close()
		for w.lines.Scan() { // so that it can write what it has left
		}
		cmd.Wait()
	})
	t.Cleanup(w.end)
	return w
}

// hear returns the next thing that an owning worker heard.
func (w *worker) hear(t *testing.T) heard {
	t.Helper()
	if !w.lines.Scan() {
		t.Fatalf("the worker ended: %v", w.lines.Err())
	}
	var h heard
	if err := json.Unmarshal(w.lines.Bytes(), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestProcessesPublish lets three processes and this one publish at once: positions
// stay dense, nothing is stored twice or lost, and nobody starves.
func TestProcessesPublish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	workers := []*worker{
		start(t, "publish", "sqlite:"+path),
		start(t, "publish", "sqlite:"+path),
		start(t, "publish", "sqlite:"+path),
	}
	if err := workPublishHere(t.Context(), c); err != nil {
		t.Error(err)
	}
	for _, w := range workers {
		if !w.lines.Scan() {
			t.Fatal("a worker failed")
		}
		if slowest, err := time.ParseDuration(w.lines.Text()); err != nil || slowest > patience {
			t.Errorf("a batch took %v to publish, %v: the others starved it", slowest, err)
		}
		w.end()
	}
	for p, end := range ends(t, c, "orders") {
		if end != "4000" {
			t.Errorf("partition %d ends at %s, want 4000", p, end)
		}
	}
	var rows, last, ids int
	err := c.db.QueryRow("SELECT count(*), max(position), count(DISTINCT position) FROM deed_event WHERE partition = 1").
		Scan(&rows, &last, &ids)
	if err != nil || rows != 4000 || last != 4000 || ids != 4000 {
		t.Errorf("%d rows up to %d with %d positions, %v", rows, last, ids, err)
	}
}

// workPublishHere publishes twice what is left for this process to reach 4000.
func workPublishHere(ctx context.Context, c *Conn) error {
	for range 100 {
		if _, err := c.Publish(ctx, events("orders", 2, 20)); err != nil {
			return err
		}
	}
	return nil
}

// TestProcessesWake measures how soon another process hears of an event.
func TestProcessesWake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	w := start(t, "own", "sqlite:"+path)
	if h := w.hear(t); len(h.Granted) != 2 {
		t.Fatalf("heard %+v", h)
	}
	// Other work on the machine delays some, so that it goes on until one comes soon.
	// News that waited for a heartbeat or a lease would never be so early.
	soonest := time.Hour
	deadline := time.Now().Add(patience)
	for i := 0; soonest > 100*time.Millisecond && time.Now().Before(deadline); i++ {
		publish(t, c, "orders", i%2, 1)
		published := time.Now()
		h := w.hear(t)
		if len(h.Deliveries) != 1 {
			t.Fatalf("heard %+v", h)
		}
		soonest = min(soonest, h.At.Sub(published))
	}
	if soonest > 100*time.Millisecond {
		t.Errorf("the other process heard of an event after %v at best", soonest)
	}
}

// TestProcessesHandOver ends a member in three ways: by release, by a clean exit
// without one, and by a kill.
func TestProcessesHandOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	w := start(t, "own", "sqlite:"+path)
	if h := w.hear(t); len(h.Granted) != 2 {
		t.Fatalf("heard %+v", h)
	}
	s := subscribe(t, c, "orders", "g", time.Second)
	if h := w.hear(t); len(h.Wanted) != 1 {
		t.Fatalf("when a member joins the other hears %+v", h)
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.cmd.Wait()
	lag, err := c.Lag(t.Context(), "g", "orders")
	if err != nil || !lag[0].MemberGone || lag[0].Member == "" {
		t.Errorf("just after the kill the lag is %+v, %v: want the member named and gone", lag[0], err)
	}
	var claims []driver.Claim
	for len(claims) < 2 {
		claims = append(claims, receive(t, s).Granted...)
	}
	for _, cl := range claims {
		if !cl.Suspect || cl.Epoch != 2 {
			t.Errorf("the claim is %+v, want a suspect one at epoch 2", cl)
		}
	}
	next := start(t, "own", "sqlite:"+path)
	if w := receive(t, s).Wanted; len(w) != 1 {
		t.Fatalf("a new process wants %v", w)
	}
	lost, err := s.Settle(t.Context(), []driver.Settlement{
		{Partition: 0, Epoch: 2}, {Partition: 1, Epoch: 2, Release: true},
	})
	if err != nil || len(lost) > 0 {
		t.Fatal(lost, err)
	}
	h := next.hear(t)
	if len(h.Granted) != 1 || h.Granted[0].Suspect || h.Granted[0].Epoch != 3 || h.Granted[0].Partition != 1 {
		t.Errorf("after the release the new process hears %+v", h)
	}
	next.end() // leaves without a release
	again := receive(t, s)
	if len(again.Granted) != 1 || !again.Granted[0].Suspect || again.Granted[0].Epoch != 4 {
		t.Errorf("after the other left this process hears %+v", again)
	}
	old := driver.Settlement{Partition: 1, Epoch: 2, Position: "1"}
	if lost, err := s.Settle(t.Context(), []driver.Settlement{old}); err != nil || len(lost) != 1 {
		t.Errorf("a settlement under an old epoch: lost %v, %v", lost, err)
	}
}
