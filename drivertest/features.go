package drivertest

import "github.com/deedgo/deed/driver"

var featuresChecks = []Check{
	{
		Name:    "features-are-implemented",
		Promise: "What Features promises has the interfaces that it takes.",
		Why:     "Package deed believes Features at start-up and would fail at the first use.",
		Run:     checkFeatures,
	},
	{
		Name:    "features-never-change",
		Promise: "Features gives one answer, on every connection.",
		Why:     "A promise checked at start-up must hold as long as the program runs.",
		Run: func(t T, e *Env) {
			if again := e.conn.Features(); again != e.features {
				t.Errorf("Features is %+v, was %+v", again, e.features)
			}
			if other := e.open().Features(); other != e.features {
				t.Errorf("Features of another connection is %+v, want %+v", other, e.features)
			}
		},
	},
}

func checkFeatures(t T, e *Env) {
	f := e.features
	if f.Engine == "" {
		t.Errorf("Features.Engine is empty: errors and documents need its name")
	}
	if f.Durability < driver.Memory || f.Durability > driver.Quorum {
		t.Errorf("Features.Durability is %v, want memory, process, power or quorum", f.Durability)
	}
	if f.MaxEventBytes < 0 || f.MaxTopicBytes < 0 || f.Flights < 0 {
		t.Errorf("Features has MaxEventBytes %d, MaxTopicBytes %d, Flights %d, want 0 or more",
			f.MaxEventBytes, f.MaxTopicBytes, f.Flights)
	}
	_, hasTopics := driver.As[driver.Topics](e.conn)
	_, hasGroups := driver.As[driver.Groups](e.conn)
	_, hasBrowser := driver.As[driver.Browser](e.conn)
	_, hasSideLog := driver.As[driver.SideLog](e.conn)
	_, hasLetters := driver.As[driver.Letters](e.conn)
	_, hasPatterns := driver.As[driver.Patterns](e.conn)
	_, hasResetter := driver.As[driver.Resetter](e.conn)
	_, hasStreams := driver.As[driver.Streams](e.conn)
	_, hasRecords := driver.As[driver.Records](e.conn)
	for _, x := range []struct {
		promise string
		made    bool
		takes   string
		has     bool
	}{
		{"Lag", f.Lag, "driver.Groups", hasGroups},
		{"Browse", f.Browse, "driver.Browser", hasBrowser},
		{"SideLog", f.SideLog, "driver.SideLog", hasSideLog},
		{"SideLog", f.SideLog, "driver.Letters", hasLetters},
		{"SideLog", f.SideLog, "Features.Fenced", f.Fenced},
		{"Fenced", f.Fenced, "Features.Groups", f.Groups},
		{"Backlog", f.Backlog, "Features.Groups", f.Groups},
		{"Reset", f.Reset, "driver.Resetter", hasResetter},
		{"Reset", f.Reset, "Features.Fenced", f.Fenced},
		{"Reset", f.Reset, "driver.Groups", hasGroups},
		{"Patterns", f.Patterns, "driver.Patterns", hasPatterns},
		{"Streams", f.Streams, "driver.Streams", hasStreams},
		{"Streams", f.Streams, "Features.KeyOrder", f.KeyOrder},
		{"Records", f.Records, "driver.Records", hasRecords},
		{"Ephemeral", f.Ephemeral, "giving up groups", !f.Groups},
		{"Ephemeral", f.Ephemeral, "giving up dead letters", !f.SideLog},
		{"Ephemeral", f.Ephemeral, "giving up reading again", !f.Browse},
		{"Ephemeral", f.Ephemeral, "giving up durability", f.Durability == driver.Memory},
		{"Ephemeral", f.Ephemeral, "giving up resets", !f.Reset},
		{"Ephemeral", f.Ephemeral, "giving up retention", !f.Retention},
		{"Retention", f.Retention, "driver.Topics", hasTopics},
		{"Dedupe", f.Dedupe, "driver.Topics", hasTopics},
		{"Pack", f.Pack, "driver.Topics", hasTopics},
		{"Streams", f.Streams, "driver.Topics", hasTopics},
	} {
		if x.made && !x.has {
			t.Errorf("Features.%s is promised without %s", x.promise, x.takes)
		}
	}
}
