package deedmem

import (
	"cmp"
	"container/heap"
	"time"

	"github.com/deedgo/deed/driver"
)

// schedule is a topic's delayed events, which have no position yet. A timer gives
// them one when they are due. The zero value is empty.
type schedule struct {
	waiting waiting
	order   int64       // of the last one accepted
	timer   *time.Timer // for the first; nil before there was any
}

// delayed is an event that waits for its time.
type delayed struct {
	driver.Message
	partition int
}

// turn is when a delayed event's time comes. What the heap compares lies in the heap
// itself: a million of them are not in the processor's memory.
type turn struct {
	second int64
	nano   int
	order  int64 // of acceptance, among those of one time
	event  *delayed
}

func (t *turn) due() time.Time { return time.Unix(t.second, int64(t.nano)).UTC() }

// waiting is a heap, the first due on top.
type waiting []turn

func (w waiting) Len() int      { return len(w) }
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w waiting) Less(i, j int) bool {
	a, b := &w[i], &w[j]
	if a.second != b.second {
		return a.second < b.second
	}
	return cmp.Or(cmp.Compare(a.nano, b.nano), cmp.Compare(a.order, b.order)) < 0
}

// Push is heap.Interface.
func (w *waiting) Push(x any) { *w = append(*w, x.(turn)) }

// Pop is heap.Interface.
func (w *waiting) Pop() any {
	last := len(*w) - 1
	t := (*w)[last]
	(*w)[last] = turn{}
	*w = (*w)[:last]
	return t
}

// delay keeps an event until its time.
func (s *store) delay(t *topic, m *driver.Message, data []byte, partition int) {
	x := &t.schedule
	x.order++
	d := &delayed{Message: *m, partition: partition}
	d.Data = data
	heap.Push(&x.waiting, turn{m.NotBefore.Unix(), m.NotBefore.Nanosecond(), x.order, d})
	if x.waiting[0].event == d {
		s.rouse(t)
	}
}

// rouse sets the timer for the first event that waits.
func (s *store) rouse(t *topic) {
	x := &t.schedule
	if len(x.waiting) == 0 {
		return
	}
	in := max(0, x.waiting[0].due().Sub(now()))
	if x.timer == nil {
		x.timer = time.AfterFunc(in, func() { s.storeDue(t) })
		return
	}
	x.timer.Reset(in)
}

// stop ends the timer for good.
func (x *schedule) stop() {
	if x.timer != nil {
		x.timer.Stop()
	}
}

// storeDue appends what is due, in order of due time, and sets the timer again. It
// does so in steps, so that a million due at once stop nobody else.
func (s *store) storeDue(t *topic) {
	const step = 1024
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || t.deleted {
		return
	}
	stored := make(map[int]bool) // by partition
	at := now()
	for range step {
		w := t.schedule.waiting
		if len(w) == 0 || w[0].due().After(at) {
			break
		}
		d := heap.Pop(&t.schedule.waiting).(turn).event
		p := t.parts[d.partition]
		from := reader{piece: newPiece([]driver.Message{d.Message})}
		p.add(&d.Message, from.next(&d.Message), from.piece, p.stamp(at))
		t.bytes += int64(len(d.Data))
		stored[d.partition] = true
	}
	for partition := range stored {
		t.announce(partition)
	}
	s.rouse(t)
}
