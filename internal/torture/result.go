package torture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Result is what came of a run. It is written as JSON for machines and as one
// line for people.
type Result struct {
	Engine      string         `json:"engine"`
	Seed        uint64         `json:"seed"`
	Seconds     float64        `json:"seconds"` // how long faults went on
	Events      int            `json:"events"`  // that publishers tried to publish
	Acked       int            `json:"acked"`
	Info        int            `json:"info"`       // unknown outcomes, tried again
	Stored      int            `json:"stored"`     // in the topics at the end
	Again       int            `json:"again"`      // stored again, where that is not promised to be kept out
	RolledBack  int            `json:"rolledback"` // events whose transaction was, on purpose
	Faults      map[string]int `json:"faults"`
	Upkeep      map[Do]int     `json:"upkeep,omitempty"` // letters redriven, events removed, resets
	Deliveries  int            `json:"deliveries"`
	Failures    int            `json:"failures"`    // handlers that returned an error or panicked
	Redelivered int            `json:"redelivered"` // deliveries that no failure accounts for
	Letters     int            `json:"letters"`     // dead and parked before the redrive
	CatchUp     float64        `json:"catchup"`     // seconds from the last heal to lag 0
	// Violations counts what each check found, 0 included.
	Violations map[string]int `json:"violations"`
	// Details are the first violations of each check.
	Details map[string][]string `json:"details,omitempty"`
}

func newResult(config Config, r *run, h *History) *Result {
	res := &Result{
		Engine: cmp.Or(config.Engine, r.bus.Features().Engine), Seed: config.Seed,
		Seconds: config.For.Seconds(), Faults: r.campaign.counts,
		Events: len(h.invoked), Acked: len(h.acked), Stored: len(h.stored), Letters: r.letters,
		CatchUp: r.catchUp.Round(time.Millisecond).Seconds(), Violations: map[string]int{},
		Upkeep: map[Do]int{}, Details: map[string][]string{},
	}
	type delivery struct{ group, id string }
	delivered := map[delivery]int{}
	for _, op := range h.Ops {
		switch op.Do {
		case Redrive, Sweep, Reset:
			res.Upkeep[op.Do] += int(max(op.N, 1))
		case Info:
			res.Info++
		case Rollback:
			res.RolledBack++
		case Deliver:
			res.Deliveries++
			delivered[delivery{op.Group, op.ID}]++
		case Failed:
			res.Failures++
		}
	}
	if h.Again {
		res.Again = len(h.of(Stored)) - len(h.stored)
	}
	const groups = 2 // each is delivered what was stored again
	res.Redelivered = max(res.Deliveries-res.Failures-len(delivered)-groups*res.Again, 0)
	const enough = 5
	for _, c := range Checks {
		found := c.Find(h)
		res.Violations[c.Name] = len(found)
		if len(found) > 0 {
			res.Details[c.Name] = found[:min(enough, len(found))]
		}
	}
	return res
}

// Broken returns the names of the checks that found something, in order.
func (r *Result) Broken() []string {
	var names []string
	for _, c := range Checks {
		if r.Violations[c.Name] > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// Kills is how many processes were killed, workers and servers.
func (r *Result) Kills() int { return r.Faults["kill"] + r.Faults["server"] + r.Faults["state"] }

// Weak says why the run proves little, or is empty: consumers that are killed
// have to be handed some events twice, or the faults missed.
func (r *Result) Weak() string {
	switch {
	case r.Acked == 0:
		return "nothing was published"
	case r.Faults["kill"] >= 10 && r.Redelivered == 0:
		return fmt.Sprintf("%d kills and no event was delivered twice: the faults were too weak", r.Faults["kill"])
	}
	return ""
}

// String writes the result on one line.
func (r *Result) String() string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		faults = append(faults, fmt.Sprintf("%s=%d", name, r.Faults[name]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "engine=%s seed=%d events=%d acked=%d stored=%d again=%d info=%d rolledback=%d faults{%s} "+
		"deliveries=%d failures=%d redelivered=%d",
		r.Engine, r.Seed, r.Events, r.Acked, r.Stored, r.Again, r.Info, r.RolledBack, strings.Join(faults, ","),
		r.Deliveries, r.Failures, r.Redelivered)
	for _, do := range slices.Sorted(maps.Keys(r.Upkeep)) {
		fmt.Fprintf(&b, " %s=%d", do, r.Upkeep[do])
	}
	for _, c := range Checks {
		fmt.Fprintf(&b, " %s=%d", c.Name, r.Violations[c.Name])
	}
	fmt.Fprintf(&b, " letters=%d catchup=%.1fs", r.Letters, r.CatchUp)
	return b.String()
}

// Explain lists the violations that Details holds, one a line.
func (r *Result) Explain() string {
	var b strings.Builder
	for _, c := range Checks {
		for _, line := range r.Details[c.Name] {
			fmt.Fprintf(&b, "%s: %s\n", c.Name, line)
		}
		if more := r.Violations[c.Name] - len(r.Details[c.Name]); more > 0 {
			fmt.Fprintf(&b, "%s: and %d more (%s)\n", c.Name, more, c.Why)
		}
	}
	return b.String()
}
