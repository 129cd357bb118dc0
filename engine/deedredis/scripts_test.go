package deedredis

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// Scripts are flushed and loaded again while batches of one producer are on their way,
// so that some are known to the server and those before them are not. All are stored,
// in order and once.
func TestScriptsAreFlushedWithinAPipeline(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]driver.TopicSettings{
		"plain": {Partitions: 1}, "with an id window": {Partitions: 1, Dedupe: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			c := open(t, s.URL())
			info, err := c.CreateTopic(t.Context(), "topic", settings)
			if err != nil {
				t.Fatal(err)
			}
			const calls, batches = 60, 20
			data := make([]byte, 20<<10) // more than the server reads at once, so that others come between two batches
			done := make(chan struct{})
			flushes := 0
			var wg sync.WaitGroup
			wg.Go(func() {
				for ; ; flushes++ {
					select {
					case <-done:
						return
					default:
					}
					command(t, s, "SCRIPT", "FLUSH", "SYNC")
					<-time.After(time.Millisecond)
					command(t, s, "SCRIPT", "LOAD", publishScript.text)
					<-time.After(3 * time.Millisecond)
				}
			})
			want := 0
			for range calls {
				bs := make([]driver.Batch, batches)
				for i := range bs {
					want++
					bs[i] = driver.Batch{
						Topic: info.Name, Generation: info.Generation, Producer: "p", Seq: int64(want),
						Messages: []driver.Message{{ID: fmt.Sprint(want), Source: "/test", Type: "t", Version: 1, Data: data}},
					}
				}
				rs, err := c.Publish(t.Context(), bs)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range rs {
					if r.Err != nil || r.Stored != 1 {
						t.Errorf("batch %d: %d stored, %v", bs[i].Seq, r.Stored, r.Err)
					}
				}
				if t.Failed() {
					break
				}
			}
			close(done)
			wg.Wait()
			if flushes == 0 {
				t.Error("nothing was flushed, which proves nothing")
			}
			ds, err := c.Browse(t.Context(), driver.Page{Topic: info.Name, Limit: 2 * want})
			if err != nil || len(ds) != want {
				t.Errorf("the topic has %d events, want %d: %v", len(ds), want, err)
			}
			for i, d := range ds {
				if d.ID != fmt.Sprint(i+1) {
					t.Fatalf("event %d is %s", i+1, d.ID)
				}
			}
			t.Logf("%d flushes during %d events", flushes, want)
		})
	}
}
