// Package bridge carries events between an MQTT broker and topics of an engine that
// stores them: [In] what devices publish, [Out] what services announce to devices.
//
// Each acknowledges to one side only after the other has the event, so that none is
// lost on the way, however a program ends; some come twice then. An event that its
// publisher gave an id, as CloudEvents does, is stored once by a topic with an id window
// (TopicOptions.Dedupe). What MQTT itself may lose is said in docs/guides/mqtt.md.
//
// An event that crossed a bridge has the attributes mqtttopic, where it was published,
// and mqttbridge, the bridge's name, by which bridges of one name keep it from going in
// circles.
package bridge

import (
	"context"
	"time"
)

// The attributes that a bridge adds.
const (
	attrTopic  = "mqtttopic"
	attrBridge = "mqttbridge"
	attrDamage = "mqttdamage"
)

// The pauses before a bridge tries again.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 5 * time.Second
)

// pause waits, or returns false when ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
