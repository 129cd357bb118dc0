// Package deedmqtt is the engine of the edge: an MQTT broker, to which devices publish and
// on which programs listen, by MQTT 5 or, with version=3.1.1 in the URL, the one before.
//
// A broker passes events on and keeps no log, so the engine is an ephemeral one: it takes
// deed.Listen and refuses groups, retries and replay when a program starts. What has to
// be kept is carried into a topic of an engine that stores, by package bridge, over
// [Session].
//
// A topic's name is an MQTT topic with slashes for dots: sensors.hall is sensors/hall.
// Events travel as CloudEvents has them for MQTT: the attributes are user properties, the
// media type is the content type, the data is the payload. By 3.1.1, which has no
// properties, an event is one structured document. What other programs publish, as
// structured CloudEvents or without any attributes, comes in as an event too.
package deedmqtt
