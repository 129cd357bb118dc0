package driverkit

import (
	"slices"

	"github.com/deedgo/deed/driver"
)

// Deal hands out what a subscription has read ahead on n partitions, within the bounds of a
// fetch. Ahead returns what a partition has, nothing for one that is not to be fetched from;
// took hears how many of these go. It starts with partition first, and returns where the next
// call has to start, so that no partition starves beside one that always has more.
func Deal(
	f driver.Fetch, first, n int, ahead func(p int) []driver.Delivery, took func(p, events int),
) (out []driver.Delivery, next int) {
	ready, bytes := 0, 0
	for p := range n {
		if !slices.Contains(f.Full, p) {
			ready += len(ahead(p))
		}
	}
	if ready = min(ready, f.Events); ready <= 0 {
		return nil, first // and not an empty answer, for which Receive would return
	}
	out = make([]driver.Delivery, 0, ready)
	for i := range n {
		p := (first + i) % n
		if slices.Contains(f.Full, p) {
			continue
		}
		all, take := ahead(p), 0
		for ; take < len(all) && len(out)+take < f.Events; take++ {
			size := len(all[take].Data)
			if len(out)+take > 0 && bytes+size > f.Bytes {
				break
			}
			bytes += size
		}
		if take > 0 {
			out = append(out, all[:take]...)
			took(p, take)
		}
		if take < len(all) { // there is no more room
			if take > 0 {
				p = (p + 1) % n
			}
			return out, p
		}
	}
	return out, first
}
