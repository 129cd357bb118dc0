package deedkafka_test

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
)

// What is behind a piece of a batch that the broker did not take is not stored: it would
// overtake that when its publisher tries again.
func TestNothingOvertakes(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := open(t, "kafka://"+cluster.ListenAddrs()[0])
	info := topicOf(t, c, "orders", 1)
	var refused atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		p := req.(*kmsg.ProduceRequest)
		if refused.Add(1) > 1 {
			return nil, nil, false
		}
		resp := p.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range p.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.PolicyViolation.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	batch := driver.Batch{Topic: info.Name, Generation: info.Generation}
	large := event(1)
	large.Data = bytes.Repeat([]byte("x"), 1<<20) // which is sent alone
	batch.Messages = []driver.Message{large, event(2)}
	rs, err := c.Publish(t.Context(), []driver.Batch{batch, {Topic: info.Name, Messages: []driver.Message{event(9)}}})
	if err != nil {
		t.Fatal(err)
	}
	if refused.Load() == 0 || rs[0].Err == nil || rs[1].Err == nil {
		t.Errorf("after %d requests the receipts are %+v, want both to fail", refused.Load(), rs)
	}
	if ds := browse(t, c, "orders"); len(ds) > 0 {
		t.Errorf("%d events are stored, the first is %s; want none", len(ds), ds[0].ID)
	}
}
