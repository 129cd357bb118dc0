package deedamqp_test

import (
	"cmp"
	"net/url"
	"slices"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/fault"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/rabbittest"
)

// A member that nobody hears of any more, as one whose process stands still, loses its claim
// to the state and its queue to the server. When it is back it can spoil nothing.
func testFrozenMember(t *testing.T, s *rabbittest.Server, query string) {
	db := pgtest.Start(t)
	queues, claims := fault.NewProxy(t, s.Addr()), fault.NewProxy(t, db.Addr())
	shop := open(t, s.URL()+query)
	shop.state = db.URL(db.Database(t))
	shop.Conn = shop.another(s.URL() + query)
	info := shop.topic("orders", 1, "billing")
	for n := range 6 {
		shop.publish(info, event(n))
	}
	far := *shop
	far.state = through(t, shop.state, claims)
	slow := "amqp://guest:guest@" + queues.Addr() + "/" + cmp.Or(query, "?") + "&heartbeat=2s"
	a := far.join(far.another(slow), "orders", "billing")
	a.take(6)
	a.settle(a.got[1])
	queues.Blackhole()
	claims.Blackhole()
	b := shop.join(shop.another(s.URL()+query), "orders", "billing")
	b.take(4)
	if got := ids(b.got); !slices.Equal(got, []string{"2", "3", "4", "5"}) {
		t.Errorf("its successor gets %v, want what it had not settled", got)
	}
	if c := b.claims[0]; !c.Suspect || c.Position != a.got[1].Position {
		t.Errorf("its successor's claim is %+v, want it suspect, after %s", c, a.got[1].Position)
	}
	b.settle(b.got[0])
	if err := queues.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := claims.Heal(); err != nil {
		t.Fatal(err)
	}
	late := driver.Settlement{Epoch: a.claims[0].Epoch, Position: a.got[5].Position, Release: true}
	a.until("it hears of its loss", func() bool { return len(a.claims) == 0 })
	lost, err := a.sub.Settle(t.Context(), []driver.Settlement{late})
	if err != nil || !slices.Equal(lost, []int{0}) {
		t.Errorf("what it settles then: lost %v, %v, want partition 0", lost, err)
	}
	b.settle(b.got[1])
	shop.publish(info, event(6))
	b.take(5)
}

// through returns a database's URL that leads through a proxy.
func through(t *testing.T, text string, p *fault.Proxy) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.Addr()
	return u.String()
}
