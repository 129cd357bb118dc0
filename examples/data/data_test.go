package data_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/deedgo/deed/examples/data"
)

// The README of this folder promises these numbers to the examples.
func TestEarthquakes(t *testing.T) {
	ids, networks, withoutRMS := map[string]bool{}, map[string]bool{}, 0
	var last int64
	for line := range bytes.Lines(data.Earthquakes()) {
		var quake struct {
			ID         string
			Properties struct {
				Net  string
				Time int64
				RMS  *float64
			}
		}
		if err := json.Unmarshal(line, &quake); err != nil {
			t.Fatalf("line %d: %v", len(ids)+1, err)
		}
		if quake.Properties.Time < last {
			t.Errorf("%s is older than the event before it", quake.ID)
		}
		last = quake.Properties.Time
		ids[quake.ID], networks[quake.Properties.Net] = true, true
		if quake.Properties.RMS == nil {
			withoutRMS++
			if quake.Properties.Net != "nn" {
				t.Errorf("%s of network %s has no rms", quake.ID, quake.Properties.Net)
			}
		}
	}
	if len(ids) != 1707 || len(networks) != 12 || withoutRMS != 5 {
		t.Errorf("%d events, %d networks, %d without rms; want 1707, 12, 5", len(ids), len(networks), withoutRMS)
	}
}
