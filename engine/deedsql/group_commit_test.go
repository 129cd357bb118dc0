package deedsql

import (
	"fmt"
	"sync"
	"testing"

	"github.com/deedgo/deed"
)

// TestGroupCommit has 64 publishers publish one event at a time: those who come while a
// transaction is on its way to the disk share the next one.
func TestGroupCommit(t *testing.T) {
	onServers(t, func(t *testing.T, url string) {
		c := openURL(t, url)
		bus, err := deed.New(c, &deed.Options{Source: "/test"})
		if err != nil {
			t.Fatal(err)
		}
		const publishers, each = 64, 20
		topic := deed.NewTopic("group-commit", nil)
		made := deed.NewType(topic, "group.made", 1, func(p parcel) string { return p.Key })
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for n := range each {
					if err := bus.Publish(t.Context(), made.New(parcel{Key: fmt.Sprint(p), N: n})); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		commits := "count(DISTINCT l.stored_at)" // when its transaction began
		if _, ok := c.dialect.(*postgresDialect); ok {
			commits = "count(DISTINCT l.xmin::text)"
		}
		var stored, shared int
		err = c.db.QueryRow("SELECT count(*), "+commits+" FROM deed_log l JOIN deed_topic t ON t.id = l.topic_id "+
			"WHERE t.name = 'group-commit'").Scan(&stored, &shared)
		if err != nil {
			t.Fatal(err)
		}
		if stored != publishers*each || shared > stored/4 {
			t.Errorf("%d events by %d transactions (want %d by a quarter at most)", stored, shared, publishers*each)
		}
		t.Logf("%d events by %d transactions", stored, shared)
	})
}
