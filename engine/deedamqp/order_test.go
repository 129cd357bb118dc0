package deedamqp_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/fault"
	"github.com/deedgo/deed/internal/rabbittest"
)

// However often consumers end without a word, with as much in their hands as they may have,
// what they have not settled comes again in its order, and under the same positions.
func testOrderOutlivesConsumers(t *testing.T, s *rabbittest.Server, query string) {
	p := fault.NewProxy(t, s.Addr())
	shop := open(t, s.URL()+query)
	info := shop.topic("orders", 1, "billing")
	const all = 1500
	var ms []driver.Message
	for n := range all {
		ms = append(ms, event(n))
	}
	shop.publish(info, ms...)
	random := rand.New(rand.NewPCG(1, 2))
	positions := make(map[string]string)
	settled := 0
	for round := 0; settled < all; round++ {
		conn := shop.another("amqp://guest:guest@" + p.Addr() + "/" + query)
		m := shop.join(conn, "orders", "billing")
		got := m.take(min(all-settled, 1+random.IntN(256)))
		for i, d := range got {
			if want := fmt.Sprint(settled + i); d.ID != want {
				t.Fatalf("round %d: event %s came, want %s", round, d.ID, want)
			}
			if at, ok := positions[d.ID]; ok && at != d.Position {
				t.Fatalf("round %d: event %s has position %s, had %s", round, d.ID, d.Position, at)
			}
			positions[d.ID] = d.Position
		}
		if n := random.IntN(len(got) + 1); n > 0 && round%4 > 0 { // others die before they settle anything
			m.settle(got[n-1])
			settled += n
		}
		if round%2 == 0 {
			p.Cut()
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection that breaks costs nothing but time: the claim stays, what comes again is not
// handed out twice, and what was handed out can be settled.
func testConnectionBreaks(t *testing.T, s *rabbittest.Server, query string) {
	p := fault.NewProxy(t, s.Addr())
	shop := open(t, s.URL()+query)
	info := shop.topic("orders", 1, "billing")
	m := shop.join(shop.another("amqp://guest:guest@"+p.Addr()+"/"+query), "orders", "billing")
	n := 0
	for round := range 8 {
		for range 40 {
			n++
			shop.publish(info, event(n))
		}
		m.take(n - 20)
		if round%2 == 0 {
			m.settle(m.got[len(m.got)-1-round])
		}
		p.Cut()
	}
	m.take(n)
	m.settle(m.got[n-1])
	for i, d := range m.got {
		if d.ID != fmt.Sprint(i+1) {
			t.Fatalf("event %s came after %d others", d.ID, i)
		}
	}
	if len(m.claims) != 1 {
		t.Errorf("the member has %v", m.claims)
	}
	groups, _ := driver.As[driver.Groups](shop.Conn)
	lags, err := groups.Lag(t.Context(), "billing", "orders")
	if err != nil || len(lags) != 1 || lags[0].Events != 0 || lags[0].Position != m.got[n-1].Position {
		t.Errorf("lag is %+v, %v, want none", lags, err)
	}
}
