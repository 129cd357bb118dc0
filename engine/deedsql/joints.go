package deedsql

import (
	"sync"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// joints is what is known of claims whose handlers settle in their own transactions. While
// a claim holds nobody else adds rows of its partition: there are those that were there
// when it was met, and those that were tried here since, of which the database has to be
// asked, since a commit may have failed. So an event that comes for the first time costs no
// question.
type joints struct {
	mu     sync.Mutex
	claims map[jointKey]*jointClaim
	groups map[int64]bool // by id
}

type jointKey struct {
	group, topic string
	partition    int
}

type jointClaim struct {
	epoch   int64
	group   int64
	found   map[handled]bool // when the claim was met, or asked again
	tried   map[handled]bool // since
	settled int64            // what was tried up to here is forgotten
}

// handled is an event of a partition whose effect happened.
type handled struct {
	at  int64
	run int
}

func keyOf(c driver.Claim) jointKey { return jointKey{c.Group, c.Topic, c.Partition} }

// claim returns what is known of a claim, nil for one that was not met. The caller holds
// mu.
func (j *joints) claim(c driver.Claim) *jointClaim {
	known := j.claims[keyOf(c)]
	if known == nil || known.epoch != c.Epoch {
		return nil
	}
	return known
}

// known returns which events of a claim are handled, unless the database has to be asked.
func (j *joints) known(h *holding) (found map[handled]bool, sure bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.claim(h.claim)
	if c == nil {
		return nil, false
	}
	for _, e := range h.events {
		if c.tried[e.handled] || e.at <= c.settled {
			return nil, false
		}
	}
	return c.found, true // which nobody changes
}

// add takes over what the database has of a claim.
func (j *joints) add(claim driver.Claim, group int64, found map[handled]bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.claims == nil {
		j.claims, j.groups = make(map[jointKey]*jointClaim), make(map[int64]bool)
	}
	j.groups[group] = true
	old := j.claims[keyOf(claim)]
	if old == nil || old.epoch < claim.Epoch {
		at, _ := driverkit.ParsePosition(claim.Position) // it was parsed when it was granted
		j.claims[keyOf(claim)] = &jointClaim{
			epoch: claim.Epoch, group: group, found: found, tried: make(map[handled]bool), settled: at,
		}
	}
}

// try notes that events are about to be settled, and returns the claim's group.
func (j *joints) try(h *holding) (group int64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.claim(h.claim)
	if c == nil {
		return 0, false
	}
	for _, e := range h.events {
		c.tried[e.handled] = true
	}
	return c.group, true
}

// settle forgets what was tried up to a position. Should it come again, from the side log,
// the database is asked.
func (j *joints) settle(key jointKey, epoch, at int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.claims[key]
	if c == nil || c.epoch != epoch || at <= c.settled {
		return
	}
	c.settled = at
	for e := range c.tried {
		if e.at <= at {
			delete(c.tried, e)
		}
	}
}

// of reports whether a group has such handlers here.
func (j *joints) of(group int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.groups[group]
}
