package deedredis

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// lagScene is a group on a topic of one partition.
type lagScene struct {
	t     *testing.T
	s     *redistest.Server
	c     *Conn
	info  driver.TopicInfo
	claim driver.Claim
	sub   driver.Subscription
	got   []string // positions of what was received
}

func newLagScene(t *testing.T, s *redistest.Server, name string, events int) *lagScene {
	t.Helper()
	c, err := Open(t.Context(), s.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	x := &lagScene{t: t, s: s, c: c}
	if x.info, err = c.CreateTopic(t.Context(), name, driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	x.publish(events)
	x.sub, err = c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: name, Group: "group", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.sub.Close() })
	x.receive(events)
	return x
}

// receive receives until there were as many events.
func (x *lagScene) receive(events int) {
	x.t.Helper()
	for len(x.got) < events {
		r, err := x.sub.Receive(x.t.Context(), driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			x.t.Fatal(err)
		}
		for _, c := range r.Granted {
			x.claim = c
		}
		for _, d := range r.Deliveries {
			x.got = append(x.got, d.Position)
		}
	}
}

func (x *lagScene) publish(n int) {
	x.t.Helper()
	b := driver.Batch{Topic: x.info.Name}
	for i := range n {
		b.Messages = append(b.Messages, driver.Message{ID: fmt.Sprint(i), Source: "/lag", Type: "t", Version: 1})
	}
	rs, err := x.c.Publish(x.t.Context(), []driver.Batch{b})
	if err != nil || rs[0].Err != nil {
		x.t.Fatal(err, rs)
	}
}

func (x *lagScene) settle(n int) {
	x.t.Helper()
	lost, err := x.sub.Settle(x.t.Context(), []driver.Settlement{{Epoch: x.claim.Epoch, Position: x.got[n-1]}})
	if err != nil || len(lost) > 0 {
		x.t.Fatal(lost, err)
	}
}

func (x *lagScene) do(args ...string) string {
	x.t.Helper()
	answer, err := x.s.Command(args...)
	if err != nil {
		x.t.Fatal(err)
	}
	return answer
}

func (x *lagScene) stream() string { return x.c.keys.log(x.info.Name, 0) }

// want compares the lag with what is known, and with the server's own figure when that
// is said to be right.
func (x *lagScene) want(what string, events int64, native bool) {
	x.t.Helper()
	lags, err := x.c.Lag(x.t.Context(), "group", x.info.Name)
	if err != nil || len(lags) != 1 || lags[0].Events != events {
		x.t.Fatalf("%s: the lag is %+v, %v, want %d events", what, lags, err, events)
	}
	fields := strings.Split(x.do("XINFO", "GROUPS", x.stream()), "\n")
	says := ""
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "lag" {
			says = fields[i+1]
		}
	}
	if right := says == strconv.FormatInt(events, 10); native && !right {
		x.t.Errorf("%s: XINFO GROUPS says %q, want %d", what, says, events)
	} else {
		x.t.Logf("%s: %d events, XINFO GROUPS says %q", what, events, says)
	}
}

// The native group says the same as deed, as long as Redis itself is right about it.
func TestLagIsTheServersWhereThatIsRight(t *testing.T) {
	s := redistest.Start(t)
	x := newLagScene(t, s, "plain", 20)
	x.want("nothing settled", 20, true)
	x.settle(7)
	x.want("7 settled", 13, true)
	x.publish(5)
	x.want("5 more published", 18, true)
	x.settle(20)
	x.want("20 settled", 5, true)

	x = newLagScene(t, s, "deleted", 20)
	x.settle(5)
	x.do("XDEL", x.stream(), x.got[9], x.got[10], x.got[12])
	x.want("3 unread entries deleted", 12, false)
	x.settle(8)
	x.want("8 settled", 9, false)
	x.do("XDEL", x.stream(), x.got[2])
	x.want("a read entry deleted", 9, false)

	x = newLagScene(t, s, "trimmed", 20)
	x.settle(5)
	x.do("XTRIM", x.stream(), "MAXLEN", "=", "4")
	x.want("11 unread entries trimmed", 4, false)
	x.settle(17)
	x.want("17 settled", 3, false)
	x.do("XADD", x.stream(), "*", "d", "{}", "type", "t")
	x.want("an entry of another program", 4, false)
}
