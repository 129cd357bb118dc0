package deedmqtt

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// engineName is what events that do not say it are said to come from.
const engineName = "mqtt"

const (
	specName    = "specversion"
	specVersion = "1.0"
	structured  = "application/cloudevents+json"
)

// packet makes what is published for an event: CloudEvents' binary mode, and the
// structured one where a property could not hold an attribute.
func packet(topic string, m *driver.Message) *paho.Publish {
	p := &paho.PublishProperties{ContentType: m.ContentType}
	binary := true
	add := func(name, value string) {
		p.User.Add(name, value)
		binary = binary && fit(value)
	}
	add(specName, specVersion)
	add("id", m.ID)
	add("source", m.Source)
	add("type", m.Type)
	if m.Version != 1 {
		add("typeversion", strconv.Itoa(m.Version))
	}
	if m.Key != "" {
		add("partitionkey", m.Key)
	}
	if !m.Time.IsZero() {
		add("time", m.Time.UTC().Format(time.RFC3339Nano))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		add(name, m.Attributes[name])
	}
	if !binary || !fit(m.ContentType) {
		p = &paho.PublishProperties{ContentType: structured}
		return &paho.Publish{QoS: 1, Topic: topic, Payload: driverkit.AppendDocument(nil, m), Properties: p}
	}
	return &paho.Publish{QoS: 1, Topic: topic, Payload: m.Data, Properties: p}
}

// fit reports whether a property can hold a text: brokers may end the connection of who
// sends control characters.
func fit(text string) bool {
	if len(text) > math.MaxUint16 || !utf8.ValidString(text) {
		return false
	}
	return strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef
	}) < 0
}

// readPacket reads what was published, by whom ever. It never fails: what is no event
// becomes one, and what claims to be one and cannot be read becomes plain data, with the
// reason as an error.
func readPacket(p *paho.Publish, m *driver.Message) error {
	properties := p.Properties
	if properties == nil {
		properties = &paho.PublishProperties{}
	}
	switch {
	case strings.HasPrefix(properties.ContentType, structured),
		properties.ContentType == "" && properties.User.Get(specName) == "": // MQTT 3.1.1 has no properties
		return driverkit.ReadDocument(string(p.Payload), m)
	case properties.User.Get(specName) == "":
		*m = driver.Message{Version: 1, ContentType: properties.ContentType, Data: p.Payload}
		return nil
	}
	*m = driver.Message{Version: 1, ContentType: properties.ContentType, Data: p.Payload}
	var damage error
	if v := properties.User.Get(specName); v != specVersion {
		damage = fmt.Errorf("its specversion is %q (want %s)", v, specVersion)
	}
	for _, u := range properties.User {
		if err := driverkit.SetAttribute(m, u.Key, u.Value); damage == nil {
			damage = err
		}
	}
	return damage
}
