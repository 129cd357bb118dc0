package deedamqp_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/rabbittest"
)

// A server that is killed again and again under load loses nothing of what it confirmed, and
// a group goes on where it was.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	s := rabbittest.Start(t)
	shop := open(t, s.URL())
	info := shop.topic("orders", 1, "billing")
	s.Noted("orders/billing/0")
	killed(t, s, shop, info, "")
}

// So it is with streams.
func TestServerKilledStreams(t *testing.T) {
	t.Parallel()
	s := rabbittest.Start(t)
	s.NotedStreams()
	shop := open(t, s.URL()+streaming)
	killed(t, s, shop, shop.topic("orders", 1, "billing"), streaming)
}

func killed(t *testing.T, s *rabbittest.Server, shop *shop, info driver.TopicInfo, query string) {
	m := shop.join(shop.another(s.URL()+query), "orders", "billing")
	const rounds, most = 3, 20_000
	confirmed := make(map[string]bool)
	n := 0
	for round := range rounds {
		shop.publishUntil(info, event(0)) // a node that has just started may take nothing yet
		loaded, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for i := range most {
				n++
				if shop.try(info, event(n)) != nil {
					return
				}
				confirmed[fmt.Sprint(n)] = true
				if i == 100*(round+1) {
					close(loaded)
				}
			}
		}()
		<-loaded
		s.Kill()
		m.until("the end of the load", func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		s.Restart()
		if len(m.got) > 0 {
			m.settle(m.got[len(m.got)-1])
		}
	}
	shop.publishUntil(info, event(-1))
	seen := make(map[string]bool)
	m.until("all that was confirmed", func() bool {
		for _, d := range m.got {
			seen[d.ID] = true
		}
		if n := len(m.got); n > 0 { // there are more than a member may have at once
			m.settle(m.got[n-1])
		}
		for id := range confirmed {
			if !seen[id] {
				return false
			}
		}
		return seen["-1"]
	})
	t.Logf("%d of %d events were confirmed, %d came", len(confirmed), n, len(m.got))
	if len(confirmed) == 0 {
		t.Error("nothing was confirmed")
	}
}

// publishUntil publishes until that succeeds.
func (s *shop) publishUntil(info driver.TopicInfo, m driver.Message) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := s.try(info, m)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}
