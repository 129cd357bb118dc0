package deedkafka

import (
	"context"
	"strconv"

	"github.com/deedgo/deed/driver"
)

// inspect finds out what the cluster keeps of the topics that deed creates.
func (c *Conn) inspect(ctx context.Context) (driver.Class, string, error) {
	brokers, err := c.admin.ListBrokers(ctx)
	if err != nil {
		return 0, "", err
	}
	const want = "default.replication.factor=3 (or replicas=3 in the URL) and min.insync.replicas=2 at the brokers"
	values, err := c.brokerConfigs(ctx, brokers.NodeIDs())
	if err != nil { // the user may not look
		return driver.Process, "the right to describe the brokers' configuration, and " + want, nil
	}
	replicas := int(c.settings.replicas)
	if replicas < 0 {
		replicas = values["default.replication.factor"]
	}
	if len(brokers) >= 3 && replicas >= 3 && values["min.insync.replicas"] >= 2 {
		return driver.Quorum, "", nil
	}
	return driver.Process, want, nil
}

// brokerConfigs returns the numbers among the configuration of the first broker.
func (c *Conn) brokerConfigs(ctx context.Context, ids []int32) (map[string]int, error) {
	values := make(map[string]int)
	if len(ids) == 0 {
		return values, nil
	}
	configs, err := c.admin.DescribeBrokerConfigs(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	for _, r := range configs {
		if r.Err != nil {
			return nil, r.Err
		}
		for _, x := range r.Configs {
			if n, err := strconv.Atoi(x.MaybeValue()); err == nil {
				values[x.Key] = n
			}
		}
	}
	return values, nil
}
