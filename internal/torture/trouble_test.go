package torture

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// What operators and other programs do to a Redis server does no harm that lasts.
func TestRedisInTrouble(t *testing.T) {
	t.Run("scripts are flushed", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		x := newService(t, s)
		for range 20 {
			command(t, s, "SCRIPT", "FLUSH")
			x.publish(1)
			pause(t.Context(), 20*time.Millisecond)
		}
		x.settled()
		x.wantAll()
		x.wantEffectsOnce()
	})
	t.Run("groups are destroyed", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		x := newService(t, s)
		x.publish(5)
		x.settled()
		all := streams(t, s)
		for _, name := range all {
			command(t, s, "XGROUP", "DESTROY", name, "service")
		}
		x.publish(5)
		x.settled()
		x.wantAll()
		x.wantEffectsOnce()
		eventually(t, "the native groups are not there again", time.Minute, func() bool {
			there := 0
			for _, name := range all {
				there += strings.Count(command(t, s, "XINFO", "GROUPS", name), "\nservice\n")
			}
			return there == len(all)
		})
	})
	t.Run("memory is full", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, "maxmemory-policy noeviction")
		x := newService(t, s)
		x.publish(5)
		x.settled()
		memoryIsFull(t, s, x)
	})
	t.Run("a stream is deleted", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		x := newService(t, s)
		x.publish(5)
		x.settled()
		streamIsDeleted(t, s, x)
	})
	t.Cleanup(func() { wantNoGoroutines(t) })
}

func stream(partition int) string { return fmt.Sprintf("deed:{losses:%d}", partition) }

// streams returns the partitions that have events.
func streams(t *testing.T, s *redistest.Server) (names []string) {
	t.Helper()
	for p := range 4 {
		if command(t, s, "EXISTS", stream(p)) == "1" {
			names = append(names, stream(p))
		}
	}
	return names
}

func command(t *testing.T, s *redistest.Server, args ...string) string {
	t.Helper()
	answer, err := s.Command(args...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// memoryIsFull fills the server while its groups are paused. Then they drain it, and
// nothing of what failed for want of memory becomes a dead letter.
func memoryIsFull(t *testing.T, s *redistest.Server, x *service) {
	groups, _ := driver.As[driver.Groups](x.bus.Conn())
	if err := groups.PauseGroup(t.Context(), "service", lossTopic.Name(), true); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), 2*time.Second) // the lease: by now no member fetches
	x.publish(10)
	eventually(t, "the outbox is not empty", time.Minute, func() bool {
		n, err := x.box.Pending(t.Context())
		return err == nil && n == 0
	})
	command(t, s, "CONFIG", "SET", "maxmemory", "1")
	err := x.bus.Publish(t.Context(), lossType.New(newFact("other", 1, false)))
	if !errors.Is(err, driver.ErrFull) || !strings.Contains(err.Error(), "maxmemory") {
		t.Errorf("publishing without memory: %v, want ErrFull that names maxmemory", err)
	}
	handled := x.total()
	x.publish(5) // waits in the outbox
	if err := groups.PauseGroup(t.Context(), "service", lossTopic.Name(), false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group does not drain", time.Minute, func() bool {
		lags, err := groups.Lag(t.Context(), "service", lossTopic.Name())
		behind := int64(0)
		for _, l := range lags {
			behind += l.Events
		}
		return err == nil && behind == 0 && len(x.effects()) == handled
	})
	if n, err := x.box.Pending(t.Context()); n != x.total()-handled {
		t.Errorf("%d events wait in the outbox, %v, want %d", n, err, x.total()-handled)
	}
	command(t, s, "CONFIG", "SET", "maxmemory", "0")
	x.settled()
	x.wantAll()
	x.wantEffectsOnce()
	letters, _ := driver.As[driver.Letters](x.bus.Conn())
	if all, err := letters.List(t.Context(), driver.LetterFilter{}); len(all) > 0 || err != nil {
		t.Errorf("the side log has %d events, %v", len(all), err)
	}
}

// streamIsDeleted deletes one partition behind deed's back.
func streamIsDeleted(t *testing.T, s *redistest.Server, x *service) {
	bad := driver.PartitionOf("k0", 4)
	command(t, s, "DEL", stream(bad))
	var failed *deed.PublishError
	err := x.bus.Publish(t.Context(), lossType.New(newFact("k0", 1000, false)))
	if !errors.As(err, &failed) || !errors.Is(err, driver.ErrLost) || !strings.Contains(err.Error(), stream(bad)) {
		t.Errorf("publishing to a stream that is gone: %v, want ErrLost that names it", err)
	}
	done := map[string]bool{}
	x.publish(5)
	eventually(t, "the other partitions do not go on", time.Minute, func() bool {
		for _, id := range x.effects() {
			done[id] = true
		}
		for key, last := range x.last {
			if driver.PartitionOf(key, 4) != bad && !done[fmt.Sprintf("%s/%d", key, last)] {
				return false
			}
		}
		return true
	})
	groups, _ := driver.As[driver.Groups](x.bus.Conn())
	lags, err := groups.Lag(t.Context(), "service", lossTopic.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lags {
		if gone := strings.Contains(l.Status, "the stream is gone"); gone != (l.Partition == bad) {
			t.Errorf("partition %d has the status %q", l.Partition, l.Status)
		}
	}
}
