package bridge

import (
	"crypto/sha256"
	"fmt"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine/deedmqtt"
)

// RefusedType is the type of an event that stands for a message which the bus does not
// take, or which claims to be a CloudEvent and is none.
const RefusedType = "mqtt.refused"

// draft makes an event of a message. Its id is its own from now on, whatever becomes of
// the first attempt to store it.
func (in *In) draft(h deedmqtt.Heard) deed.Draft {
	e := deed.EventOf(&h.Message)
	if e.ID == "" {
		e.ID = deed.NewID()
	}
	if e.Source == "" {
		e.Source = in.source()
	}
	if e.Type == "" {
		e.Type = in.Type
	}
	if e.Type == "" {
		e.Type = in.Topic.Name()
	}
	if e.Key == "" {
		e.Key = h.Topic // MQTT keeps the order of a topic
	}
	extend(&e, attrTopic, h.Topic)
	extend(&e, attrBridge, in.Name)
	d := deed.NewDraft(in.Topic, e)
	if h.Damage != nil {
		return in.bare(d, h.Damage)
	}
	if err := e.Validate(); err != nil {
		return in.bare(d, err)
	}
	return d
}

func (in *In) source() string { return "/mqtt/" + in.Name }

func extend(e *deed.Event, name, value string) {
	if e.Extensions == nil {
		e.Extensions = make(map[string]string)
	}
	e.Extensions[name] = value
}

// bare is a draft's data as an event of the bridge's own.
func (in *In) bare(d deed.Draft, why error) deed.Draft {
	topic := d.Extensions[attrTopic]
	e := deed.Event{
		ID: deed.NewID(), Source: in.source(), Type: RefusedType, Key: topic,
		ContentType: "application/octet-stream", Data: d.Data,
	}
	extend(&e, attrTopic, topic)
	extend(&e, attrBridge, in.Name)
	extend(&e, attrDamage, why.Error())
	return deed.NewDraft(in.Topic, e)
}

// note says of a draft's data only how much it was, and which.
func (in *In) note(d deed.Draft, why error) deed.Draft {
	n := in.bare(d, why)
	n.ContentType = ""
	n.Data = fmt.Appendf(nil, `{"bytes":%d,"sha256":"%x"}`, len(d.Data), sha256.Sum256(d.Data))
	return n
}
