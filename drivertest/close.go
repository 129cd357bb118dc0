package drivertest

import (
	"time"

	"github.com/deedgo/deed/driver"
)

var closeChecks = []Check{
	{
		Name:    "use-after-close",
		Promise: "Every call on what was closed is ErrClosed, and closing again does nothing.",
		Why:     "A stop that races a handler must end in a clear error, not in a hang or a panic.",
		Takes:   hasTopics,
		Run:     checkUseAfterClose,
	},
	{
		Name:    "close-wakes-receive",
		Promise: "Closing ends a Receive that waits.",
		Why:     "A stop must not hang on a topic where nothing happens.",
		Needs:   needs(groups),
		Run:     checkCloseWakes,
	},
}

func checkUseAfterClose(t T, e *Env) {
	ctx := t.Context()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	conn := e.open()
	var sub driver.Subscription
	if e.features.Groups {
		closed := e.join(conn, info.Name, "group")
		closed.owns(1)
		closed.close()
		e.must("close the subscription again", closed.sub.Close())
		_, err := closed.sub.Receive(ctx, roomy())
		e.wantErr("Receive on a closed subscription", err, driver.ErrClosed)
		_, err = closed.sub.Settle(ctx, []driver.Settlement{{Epoch: closed.claims[0].Epoch}})
		e.wantErr("Settle on a closed subscription", err, driver.ErrClosed)
		sub = e.join(conn, info.Name, "group").sub
	}
	e.must("close", conn.Close())
	e.must("close again", conn.Close())
	_, err := tryPublish(ctx, conn, batch(info, 0, message("1", "")))
	e.wantErr("Publish", err, driver.ErrClosed)
	_, err = conn.Subscribe(ctx, driver.SubscribeSpec{Topic: info.Name, Group: "group", Lease: lease})
	e.wantErr("Subscribe", err, driver.ErrClosed)
	_, err = on[driver.Topics](e, conn).Topics(ctx)
	e.wantErr("Topics", err, driver.ErrClosed)
	if e.features.Groups {
		_, err = sub.Receive(ctx, roomy())
		e.wantErr("Receive", err, driver.ErrClosed)
		e.must("close a subscription whose connection is closed", sub.Close())
	}
	if e.features.Lag {
		_, err = on[driver.Groups](e, conn).Groups(ctx)
		e.wantErr("Groups", err, driver.ErrClosed)
	}
	if e.features.Browse {
		_, err = on[driver.Browser](e, conn).Ends(ctx, info.Name)
		e.wantErr("Ends", err, driver.ErrClosed)
	}
	if e.features.SideLog {
		_, err = on[driver.Letters](e, conn).List(ctx, driver.LetterFilter{})
		e.wantErr("List", err, driver.ErrClosed)
		_, err = on[driver.SideLog](e, conn).Due(ctx, driver.Claim{Group: "group", Topic: info.Name}, 1)
		e.wantErr("Due", err, driver.ErrClosed)
	}
	if e.features.Streams {
		_, err = e.appendAt(conn, info.Name, "k", 0, "1")
		e.wantErr("AppendStream", err, driver.ErrClosed)
		_, err = on[driver.Streams](e, conn).ReadStream(ctx, driver.StreamPage{Topic: info.Name, Key: "k", Limit: 1})
		e.wantErr("ReadStream", err, driver.ErrClosed)
	}
	if e.features.Records {
		store := on[driver.Records](e, conn)
		_, err = store.Record(ctx, info.Name)
		e.wantErr("Record", err, driver.ErrClosed)
		_, err = store.PutRecord(ctx, driver.Record{Name: info.Name})
		e.wantErr("PutRecord", err, driver.ErrClosed)
	}
}

func checkCloseWakes(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	for _, what := range []string{"subscription", "connection"} {
		conn := e.open()
		m := e.join(conn, info.Name, "group")
		m.owns(1)
		ended := make(chan error, 1)
		e.meanwhile(func() error {
			_, err := m.sub.Receive(t.Context(), roomy())
			ended <- err
			return nil
		})
		if what == "connection" {
			e.must("close", conn.Close())
		} else {
			m.close()
		}
		timer := time.NewTimer(patience)
		select {
		case err := <-ended:
			e.wantErr("Receive, when its "+what+" closed", err, driver.ErrClosed)
		case <-timer.C:
			t.Errorf("Receive still waits %v after its %s closed", patience, what)
		}
		timer.Stop()
	}
}
