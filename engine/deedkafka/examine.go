package deedkafka

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// Examine looks at a cluster and tells what it is and is not set up to keep.
func Examine(ctx context.Context, url string) ([]driver.Finding, error) {
	c, err := Open(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	brokers, err := c.admin.ListBrokers(ctx)
	if err != nil {
		return nil, c.fail("examine", err)
	}
	found := []driver.Finding{replication(c, len(brokers))}
	values, err := c.brokerConfigs(ctx, brokers.NodeIDs())
	if err != nil {
		return append(found, driver.Finding{
			Result: driver.Noted, What: "configuration", Value: "cannot be read: " + err.Error(),
			Advice: "allow the user DescribeConfigs on the cluster",
		}), nil
	}
	if ms, ok := values["group.min.session.timeout.ms"]; ok {
		least := time.Duration(ms) * time.Millisecond
		f := driver.Finding{Result: driver.Good, What: "shortest lease", Value: least.String()}
		if ms > 10_000 {
			f.Result, f.Advice = driver.Wrong, "deed's lease is 10s unless Options.Lease says otherwise: raise that, or lower "+
				"group.min.session.timeout.ms"
		}
		found = append(found, f)
	}
	if minutes, ok := values["offsets.retention.minutes"]; ok {
		kept := time.Duration(minutes) * time.Minute
		f := driver.Finding{
			Result: driver.Good, What: "groups are kept", Value: kept.String() + " without members",
		}
		if kept < driver.DefaultKeep {
			f.Result, f.Advice = driver.Noted, "a group that is away for longer starts again: raise offsets.retention.minutes"
		}
		found = append(found, f)
	}
	return found, nil
}

func replication(c *Conn, brokers int) driver.Finding {
	f := driver.Finding{Result: driver.Good, What: "brokers", Value: fmt.Sprintf("%d, for class %v", brokers, c.class)}
	if c.setting != "" {
		f.Result, f.Advice = driver.Noted, "for quorum: "+c.setting
	}
	return f
}
