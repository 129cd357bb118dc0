package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/deedgo/deed"
)

// Quake is what the demo wants to know of an earthquake, in the shape of the feed.
type Quake struct {
	ID         string     `json:"id"`
	Properties Properties `json:"properties"`
}

// Properties are GeoJSON's, as far as the demo reads them.
type Properties struct {
	Title   string   `json:"title"`
	Network string   `json:"net"`
	Time    int64    `json:"time"` // in milliseconds since 1970
	Mag     float64  `json:"mag"`  // may be negative
	RMS     *float64 `json:"rms"`  // missing in a few
}

// The topic has an id window, so that publishing a quake again stores nothing.
var (
	quakes   = deed.NewTopic("quakes", &deed.TopicOptions{Dedupe: 24 * time.Hour})
	recorded = deed.NewType(quakes, "quakes.recorded", 1, func(q Quake) string { return q.Properties.Network })
)

const source = "https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_week.geojson"

// draft takes identity and time from the feed instead of making them up.
func draft(q Quake) deed.Draft {
	d := recorded.New(q)
	d.ID = q.ID
	d.Source = source
	d.Time = time.UnixMilli(q.Properties.Time)
	return d
}

// readFeed reads one quake a line.
func readFeed(b []byte) ([]Quake, error) {
	var feed []Quake
	for line := range bytes.Lines(b) {
		var q Quake
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, fmt.Errorf("feed: line %d: %w", len(feed)+1, err)
		}
		feed = append(feed, q)
	}
	return feed, nil
}
