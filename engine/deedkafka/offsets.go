package deedkafka

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// standing is how a group stands on one partition: a committed offset and its metadata,
// which deed alone writes.
type standing struct {
	Next int64 `json:"-"` // the committed offset

	Topic   string  `json:"t"` // Kafka's id of the topic that the rest is about
	Epoch   int64   `json:"e,omitempty"`
	Owner   string  `json:"o,omitempty"` // "" after a clean release
	Beat    int64   `json:"b,omitempty"` // when the owner last wrote, in ms since 1970
	Lease   int64   `json:"l,omitempty"` // the owner's, in ms
	Run     int     `json:"r,omitempty"`
	Quiet   bool    `json:"q,omitempty"`
	Handled int64   `json:"h,omitempty"` // highest offset that was ever settled
	Dropped int64   `json:"d,omitempty"` // offsets that Kafka removed before they were handled
	Rate    float64 `json:"x,omitempty"`
	Status  string  `json:"s,omitempty"`
}

// maxStatus keeps the metadata under the brokers' offset.metadata.max.bytes, 4096.
const maxStatus = 1000

// written returns the metadata.
func (s *standing) written() *string {
	short := *s
	if len(short.Status) > maxStatus {
		end := maxStatus
		for !utf8.RuneStart(short.Status[end]) {
			end--
		}
		short.Status = short.Status[:end]
	}
	b, err := json.Marshal(short)
	if err != nil { // a rate that is no number
		short.Rate = 0
		b, _ = json.Marshal(short)
	}
	text := string(b)
	return &text
}

// begin notes that the log begins at an offset: what is before it nobody can handle any more.
func (s *standing) begin(start int64) {
	if start > s.Next {
		s.Dropped += start - s.Next
		s.Next = start
	}
}

// lapses is when the lease of an owner runs out that is silent.
func (s *standing) lapses() time.Time { return time.UnixMilli(s.Beat + s.Lease) }

// groupName is the name of deed's group on a topic in Kafka, whose topics have no slash.
func groupName(group, topic string) string { return topic + "/" + group }

// standings reads how a group stands on a topic. Partitions that it has not begun are
// missing, as are those that it knew of an earlier topic of the name.
func (c *Conn) standings(ctx context.Context, group string, t *topic) (map[int]standing, error) {
	offsets, err := c.admin.FetchOffsetsForTopics(ctx, groupName(group, t.name), t.name)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := make(map[int]standing)
	for p, o := range offsets[t.name] {
		if o.Err != nil {
			return nil, o.Err
		}
		if o.At < 0 {
			continue
		}
		s := standing{Topic: t.detail.ID.String()} // what other programs committed
		if o.Metadata != "" && json.Unmarshal([]byte(o.Metadata), &s) != nil {
			s = standing{Topic: t.detail.ID.String()}
		}
		if s.Next = o.At; s.Topic == t.detail.ID.String() {
			all[int(p)] = s
		}
	}
	return all, nil
}

// membership is what a commit proves itself by; its zero value is that of nobody, which
// Kafka takes while the group has no members.
type membership struct {
	id         string
	generation int32
}

var nobody = membership{generation: -1}

// commit stores standings and returns what the broker says of each partition.
func commit(
	ctx context.Context, client kmsg.Requestor, group string, t *topic, m membership, all map[int]standing,
) (map[int]error, error) {
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = t.name, t.detail.ID
	for p, s := range all {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.Metadata = int32(p), s.Next, s.written()
		topic.Partitions = append(topic.Partitions, part)
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = group, m.id, m.generation
	req.Topics = []kmsg.OffsetCommitRequestTopic{topic}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	said := make(map[int]error, len(all))
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			said[int(rp.Partition)] = kerr.ErrorForCode(rp.ErrorCode)
		}
	}
	return said, nil
}

// starts resolves where a group begins, or goes back to: nowhere before its log does.
func (c *Conn) starts(ctx context.Context, t *topic, f from) ([]int64, error) {
	if !f.Time.IsZero() {
		return c.since(ctx, t, f.Time)
	}
	offsets, ends, err := c.ends(ctx, t)
	switch {
	case err != nil:
		return nil, err
	case f.End:
		return ends, nil
	}
	return offsets, f.place(offsets, ends)
}
