package deednats

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
)

// examination gathers what is found.
type examination struct{ findings []driver.Finding }

func (x *examination) add(r driver.Result, what, value, advice string) {
	x.findings = append(x.findings, driver.Finding{Result: r, What: what, Value: value, Advice: advice})
}

// Examine looks at the server that url names, and tells what it is and is not set up to
// keep. It makes nothing. Its error means that the server could not be asked.
func Examine(ctx context.Context, url string) ([]driver.Finding, error) {
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("deednats: %w", err)
	}
	c := newConn(s)
	defer c.stop()
	if err := c.connect(); err != nil {
		return nil, fmt.Errorf("deednats: connect to %s: %w", strings.Join(s.servers, ", "), explain(err))
	}
	defer c.nc.Close()
	x := &examination{}
	if err := c.examineServer(ctx, x); err != nil {
		return nil, c.fail("examine", err)
	}
	if err := c.examineTopics(ctx, x); err != nil {
		x.add(driver.Wrong, "topics", explain(err).Error(), "look again when that is mended")
	}
	return x.findings, nil
}

func (c *Conn) examineServer(ctx context.Context, x *examination) error {
	name := "nats-server " + c.nc.ConnectedServerVersion() + " at " + c.nc.ConnectedAddr()
	f, err := c.inspect(ctx)
	if err != nil {
		x.add(driver.Wrong, "server", name, err.Error())
		return nil
	}
	x.add(driver.Good, "server", name, "")
	account, err := c.js.AccountInfo(ctx)
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		x.add(driver.Wrong, "JetStream", "off", "add a jetstream block to the server's configuration")
		return nil
	}
	if err != nil {
		return err
	}
	room := fmt.Sprintf("%d streams, %d bytes stored", account.Streams, account.Store)
	if limit := account.Limits.MaxStore; limit > 0 {
		room += fmt.Sprintf(" of %d", limit)
		if account.Store > uint64(limit)/10*9 {
			x.add(driver.Wrong, "JetStream", room, "give the account more max_file_store, or let groups get on and sweep")
			room = ""
		}
	}
	if room != "" {
		x.add(driver.Good, "JetStream", room, "")
	}
	result := driver.Noted
	if f.Durability >= driver.Power {
		result = driver.Good
	}
	x.add(result, "durability", f.Durability.String(), f.Setting)
	return nil
}

// examineTopics looks at the streams of all topics, for what would lose events.
func (c *Conn) examineTopics(ctx context.Context, x *examination) error {
	infos, err := c.Topics(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		switch {
		case info.Damage != "":
			x.add(driver.Wrong, "topic "+info.Name, info.Damage, "")
		default:
			x.add(driver.Good, "topic "+info.Name, fmt.Sprintf("%d events, %d bytes", info.Events, info.Bytes), "")
		}
	}
	return nil
}
