// Package data holds the real events that the examples publish, so that they run
// from any folder and without a network.
package data

import _ "embed"

//go:embed earthquakes.ndjson
var earthquakes []byte

// Earthquakes returns a week of earthquakes, one GeoJSON feature a line, oldest
// first. The slice is shared: read it only. README.md in this folder names the
// source.
func Earthquakes() []byte { return earthquakes }
