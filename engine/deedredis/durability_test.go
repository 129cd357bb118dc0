package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// The class is what the server is set up for, and the setting says what to change.
func TestDurability(t *testing.T) {
	t.Parallel()
	const aof = "appendonly yes"
	for name, c := range map[string]struct {
		directives []string
		class      driver.Class
		setting    string
	}{
		"nothing":   {nil, driver.Memory, "appendonly is no: set it to yes, and appendfsync to always"},
		"snapshots": {[]string{"save 60 1"}, driver.Memory, "appendonly is no: set it to yes, and appendfsync to always"},
		"no":        {[]string{"appendfsync no", aof}, driver.Process, "appendfsync is no: set it to always"},
		"everysec":  {[]string{"appendfsync everysec", aof}, driver.Process, "appendfsync is everysec: set it to always"},
		"always":    {[]string{"appendfsync always", aof}, driver.Power, "Redis promises nothing about replicas"},
	} {
		f := open(t, redistest.Start(t, c.directives...).URL()).Features()
		if f.Durability != c.class || !strings.Contains(f.Setting, c.setting) {
			t.Errorf("%s: %v, %q (want %v, %q)", name, f.Durability, f.Setting, c.class, c.setting)
		}
		if f.Setting = ""; c.class == driver.Power && f != Promise() {
			t.Errorf("%s: %+v is not what docs/engines.md shows: %+v", name, f, Promise())
		}
	}
	s := redistest.Start(t, "appendonly yes", "appendfsync always")
	command(t, s, "ACL", "SETUSER", "shop", "on", ">geheim", "~*", "&*", "+@all", "-config")
	f := open(t, as(t, s, "shop", "geheim")).Features()
	const want = "the server does not tell its appendfsync: allow CONFIG GET"
	if f.Durability != driver.Process || !strings.Contains(f.Setting, want) {
		t.Errorf("without CONFIG: %v, %q", f.Durability, f.Setting)
	}
}

// With wait, an event counts as accepted when a replica has it; else its outcome is not
// known, for the server has it.
func TestWait(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	replica := redistest.StartReplica(t, s)
	replica.CatchUp(s)
	c := open(t, s.URL()+"?wait=1")
	if err := put(t, c, "x", 2); err != nil {
		t.Fatal(err)
	}
	if got := command(t, replica, "XLEN", "deed:{x:0}"); got != "2" {
		t.Errorf("the replica has %s events when publishing returns", got)
	}
	replica.Freeze()
	defer replica.Thaw()
	err := put(t, c, "x", 1)
	if err == nil || errors.Is(err, driver.ErrNotStored) || errors.Is(err, driver.ErrRefused) {
		t.Errorf("without the replica: %v (want an unknown outcome)", err)
	} else if !strings.Contains(err.Error(), "0 of 1 replicas have it after 2s") {
		t.Errorf("without the replica: %v", err)
	}
	if got := command(t, s, "XLEN", "deed:{x:0}"); got != "3" {
		t.Errorf("the server has %s events", got)
	}
}

// A master that dies is replaced by its replica, for who publishes and for who consumes.
func TestSentinel(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "requirepass geheim")
	replica := redistest.StartReplica(t, master)
	sentinel := redistest.StartSentinel(t, master, 1)
	c := open(t, strings.Replace(sentinel.URL(), "redis://", "redis://:geheim@", 1)+"?master_set="+redistest.MasterName)
	if err := put(t, c, "x", 1); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "x", Group: "g", Lease: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	seen := make(chan string, 1000)
	var done sync.WaitGroup
	defer done.Wait()
	defer cancel()
	done.Go(func() { consume(ctx, sub, seen) })
	awaitEvent(ctx, t, seen, "1")
	replica.CatchUp(master)
	master.Kill()
	stored := ""
	for i := 0; stored == "" && ctx.Err() == nil; i++ {
		id := fmt.Sprint("after-", i)
		b := driver.Batch{Topic: "x", Messages: []driver.Message{{ID: id, Source: "/test", Type: "t", Data: []byte("{}")}}}
		if receipts, err := c.Publish(ctx, []driver.Batch{b}); err == nil && receipts[0].Err == nil {
			stored = id
		} else {
			pause()
		}
	}
	awaitEvent(ctx, t, seen, stored)
	if got := command(t, replica, "ROLE"); !strings.HasPrefix(got, "master") {
		t.Errorf("the replica is %s", got)
	}
}

// pause keeps a loop from being a busy one.
func pause() { <-time.After(20 * time.Millisecond) }

// consume settles what it receives, and goes on after errors.
func consume(ctx context.Context, sub driver.Subscription, seen chan<- string) {
	epochs := make(map[int]int64)
	for ctx.Err() == nil {
		got, err := sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			pause()
			continue
		}
		for _, cl := range got.Granted {
			epochs[cl.Partition] = cl.Epoch
		}
		for _, d := range got.Deliveries {
			seen <- d.ID
			s := driver.Settlement{Partition: d.Partition, Epoch: epochs[d.Partition], Position: d.Position}
			sub.Settle(ctx, []driver.Settlement{s}) // it may fail while there is no master
		}
	}
}

func awaitEvent(ctx context.Context, t *testing.T, seen <-chan string, id string) {
	t.Helper()
	for {
		select {
		case got := <-seen:
			if got == id {
				return
			}
		case <-ctx.Done():
			t.Fatalf("event %s did not come", id)
		}
	}
}
