package deedsql

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/sqldb"
)

// A service that starts looks whether the bus is in its database. Others that publish and
// make groups meanwhile do not end that, nor does it end them.
func TestMySQLHostsBesideOthers(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	name := s.Database(t)
	c, err := Open(t.Context(), s.URL(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.CreateTopic(t.Context(), "topic", driver.TopicSettings{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", s.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const publishers, each = 4, 100
	var published, looking sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if same, err := c.Hosts(t.Context(), db, string(sqldb.DialectMySQL)); !same || err != nil {
					t.Errorf("Hosts says %v, %v", same, err)
					return
				}
			}
		})
	}
	for p := range publishers {
		published.Go(func() {
			for n := range each {
				if err := publishOne(t, c, db, info, p, fmt.Sprint(p, "-", n)); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	published.Go(func() {
		for n := range each / 4 {
			sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{
				Group: fmt.Sprint("group-", n), Topic: info.Name, Lease: time.Minute,
			})
			if err != nil {
				t.Errorf("subscribe: %v", err)
				return
			}
			sub.Close()
			// The first group of all is made where nothing is, which is where Hosts looks.
			if err := c.DeleteGroup(t.Context(), fmt.Sprint("group-", n), info.Name); err != nil {
				t.Errorf("delete group: %v", err)
				return
			}
		}
	})
	published.Wait()
	close(stop)
	looking.Wait()
}

// publishOne publishes an event in a transaction of its own.
func publishOne(t *testing.T, c *Conn, db *sql.DB, info driver.TopicInfo, partition int, id string) error {
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	m := driver.Message{ID: id, Source: "/s", Type: "t", Version: 1, Key: "k"}
	b := driver.Batch{Topic: info.Name, Generation: info.Generation, Partition: partition, Messages: []driver.Message{m}}
	if err := c.PublishIn(t.Context(), tx, []driver.Batch{b}); err != nil {
		return err
	}
	return tx.Commit()
}
