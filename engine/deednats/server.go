package deednats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
)

// minMajor and minMinor are the first version with all that deed asks of JetStream.
const minMajor, minMinor = 2, 9

// overhead is what is left of max_payload for headers.
const overhead = 32 << 10

// maxData bounds an event, which may be several messages.
const maxData = 32 << 20

// Promise returns the features of a server that is set up to keep the most, which is
// what docs/engines.md shows; a connection's own say what its server really keeps.
func Promise() driver.Features {
	return driver.Features{
		Engine:       "nats",
		Durability:   driver.Quorum,
		KeyOrder:     true,
		Groups:       true,
		Backlog:      true,
		Fenced:       true,
		DensePos:     true,
		Sequence:     true,
		Dedupe:       true,
		SideLog:      true,
		Lag:          true,
		Browse:       true,
		Reset:        true,
		Retention:    true,
		MultiProcess: true,
		Records:      true,
		Flights:      2, // while the server writes one, the client makes the other

		MaxEventBytes: maxData,
	}
}

// inspect finds out what the server keeps.
func (c *Conn) inspect(ctx context.Context) (driver.Features, error) {
	f := Promise()
	major, minor := 0, 0
	fmt.Sscanf(c.nc.ConnectedServerVersion(), "%d.%d", &major, &minor)
	if major < minMajor || major == minMajor && minor < minMinor {
		return f, fmt.Errorf("%w: %s is nats-server %s (deed wants %d.%d or later)", driver.ErrRefused,
			c.nc.ConnectedAddr(), c.nc.ConnectedServerVersion(), minMajor, minMinor)
	}
	c.old = major == 2 && minor < 10
	if c.nc.MaxPayload() < 2*overhead {
		return f, fmt.Errorf("%w: the server's max_payload is %d bytes (set it to %d or more)",
			driver.ErrRefused, c.nc.MaxPayload(), 2*overhead)
	}
	synced, err := c.synced(ctx)
	if err != nil {
		return f, err
	}
	f.Durability, f.Setting = class(synced, c.settings)
	return f, nil
}

// class returns what an accepted event survives, and the setting that would make it
// more.
func class(synced bool, s settings) (driver.Class, string) {
	switch {
	case synced && s.replicas > 1:
		return driver.Quorum, ""
	case synced:
		return driver.Power, "one server has one copy: add replicas=3 to the URL, on a cluster"
	case s.monitor == "":
		return driver.Process, "JetStream writes to the disk every two minutes (sync_interval), unless it says otherwise: " +
			"set sync_interval to always, and let deed see it: monitor=http://HOST:8222 in the URL"
	default:
		return driver.Process, "sync_interval is not always, so an acknowledged event may be in memory alone for minutes: " +
			"set it to always in the jetstream block"
	}
}

// jsz is what the monitoring port tells of JetStream.
type jsz struct {
	Config struct {
		SyncAlways bool `json:"sync_always"`
	} `json:"config"`
}

// synced reports whether the server has every event on its disk when it acknowledges it,
// which only its monitoring port tells.
func (c *Conn) synced(ctx context.Context) (bool, error) {
	if c.settings.monitor == "" {
		return false, nil
	}
	var told jsz
	err := getJSON(ctx, c.settings.monitor+"/jsz", &told)
	if err != nil {
		return false, fmt.Errorf("%w: monitor: %w", driver.ErrRefused, err)
	}
	return told.Config.SyncAlways, nil
}

func getJSON(ctx context.Context, url string, to any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: defaultDial}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(to)
}

// drift is ErrRefused when a stream is not set up as deed made it: JetStream would remove
// what a group has not handled, or keep it in memory alone, or on fewer servers than the
// URL asks for.
func (c *Conn) drift(s jetstream.StreamConfig, perSubject int64) error {
	if has, want := max(s.Replicas, 1), c.settings.replicas; has < want {
		return fmt.Errorf("%w: the JetStream stream %s is on %d servers, and the URL asks for replicas=%d "+
			"(nats stream edit %[2]s --replicas=%[4]d)", driver.ErrRefused, s.Name, has, want)
	}
	for _, x := range []struct {
		wrong     bool
		what, fix string
	}{
		{s.Storage != jetstream.FileStorage, fmt.Sprint("storage ", s.Storage), "make it anew, with file storage"},
		{s.Retention != jetstream.LimitsPolicy, fmt.Sprint("retention ", s.Retention), "make it anew, with limits"},
		{s.MaxAge != 0, fmt.Sprint("max_age ", s.MaxAge), "nats stream edit --max-age=0"},
		{s.MaxMsgs > 0, fmt.Sprint("max_msgs ", s.MaxMsgs), "nats stream edit --max-msgs=-1"},
		{s.MaxBytes > 0 && s.Discard != jetstream.DiscardNew, fmt.Sprintf("max_bytes %d with discard old", s.MaxBytes),
			"nats stream edit --discard=new"},
		{s.MaxMsgsPerSubject != perSubject && (s.MaxMsgsPerSubject > 0 || perSubject > 0),
			fmt.Sprint("max_msgs_per_subject ", s.MaxMsgsPerSubject),
			fmt.Sprint("nats stream edit --max-msgs-per-subject=", perSubject)},
		{s.NoAck, "no_ack", "make it anew, with acknowledgements"},
		{s.Sealed, "sealed", "make it anew"},
	} {
		if x.wrong {
			return fmt.Errorf("%w: somebody has changed the JetStream stream %s to %s, by which events would be lost (%s)",
				driver.ErrRefused, s.Name, x.what, x.fix)
		}
	}
	return nil
}

// askTime finds out what the server's clock says: that of a message which it stores now.
func (c *Conn) askTime(ctx context.Context) error {
	before := time.Now()
	if _, err := c.publish(ctx, &nats.Msg{Subject: c.names.clock()}); err != nil {
		return err
	}
	m, err := c.last(ctx, c.names.meta(), c.names.clock())
	if err != nil {
		return err
	}
	if m.time.IsZero() {
		return errors.New("the server does not say when it stored a message")
	}
	c.offset.Store(int64(m.time.Sub(before.Round(0))))
	return nil
}

// now is the server's time.
func (c *Conn) now() time.Time { return time.Now().Round(0).Add(time.Duration(c.offset.Load())).UTC() }
