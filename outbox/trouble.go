package outbox

import (
	"sync"
	"time"
)

// place is a partition, or with noPartition a topic, that events wait for.
type place struct {
	topic     string
	partition int
}

const noPartition = -1

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
)

// troubles remembers the places where sending failed. The relay's main lane passes
// over them, so that they hold nothing else up, and its slow lane tries them again.
type troubles struct {
	mu     sync.Mutex
	places map[place]*trouble
}

type trouble struct {
	backoff time.Duration
	retry   time.Time
	singly  int  // so many events are sent one at a time, to find the one that is refused
	rewound bool // what is kept was sent again because of a gap
}

// lane says which places a pass is for.
type lane int

const (
	mainLane lane = iota // those without trouble
	slowLane             // those in trouble whose time has come
	allLanes             // every place, at the start and the end
)

// open reports whether a pass of the lane may try p now.
func (l lane) open(ts *troubles, p place) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, bad := ts.places[p]
	switch l {
	case mainLane:
		return !bad
	case slowLane:
		return bad && !time.Now().Before(t.retry)
	default:
		return true
	}
}

// get returns a copy of what is known about p.
func (ts *troubles) get(p place) trouble {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t, ok := ts.places[p]; ok {
		return *t
	}
	return trouble{}
}

// add notes another failure of p, lets change say more about it, and returns how
// long p waits.
func (ts *troubles) add(p place, change func(*trouble)) time.Duration {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, ok := ts.places[p]
	if !ok {
		t = &trouble{}
		ts.places[p] = t
	}
	t.backoff = min(max(2*t.backoff, backoffMin), backoffMax)
	t.retry = time.Now().Add(t.backoff)
	if change != nil {
		change(t)
	}
	return time.Until(t.retry)
}

// again keeps p in trouble but lets it be tried again at once.
func (ts *troubles) again(p place, change func(*trouble)) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, ok := ts.places[p]
	if !ok {
		t = &trouble{}
		ts.places[p] = t
	}
	t.retry = time.Time{}
	change(t)
}

func (ts *troubles) clear(p place) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.places, p)
}

// due reports whether any place in trouble may be tried again.
func (ts *troubles) due() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	now := time.Now()
	for _, t := range ts.places {
		if !now.Before(t.retry) {
			return true
		}
	}
	return false
}

// partitions reports whether any partition is in trouble.
func (ts *troubles) partitions() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for p := range ts.places {
		if p.partition != noPartition {
			return true
		}
	}
	return false
}

// list returns the places in trouble.
func (ts *troubles) list() []place {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	all := make([]place, 0, len(ts.places))
	for p := range ts.places {
		all = append(all, p)
	}
	return all
}
