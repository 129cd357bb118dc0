package cli

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations to within 3 %, in memory that does not grow. Adding is
// safe for concurrent use.
type histogram struct {
	buckets [64 * histogramSteps]atomic.Int64
	largest atomic.Int64
}

// histogramSteps is how many buckets there are from a power of two to the next.
const histogramSteps = 32

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	for {
		old := h.largest.Load()
		if int64(d) <= old || h.largest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// bucketOf is the number itself for what is small, and then the highest five bits
// with how far they were shifted.
func bucketOf(d time.Duration) int {
	shift := max(bits.Len64(uint64(d))-6, 0)
	return shift*histogramSteps + int(uint64(d)>>shift)
}

// topOf is the largest duration in a bucket.
func topOf(bucket int) time.Duration {
	shift := max(bucket/histogramSteps-1, 0)
	return time.Duration(bucket-shift*histogramSteps+1)<<shift - 1
}

// quantiles are durations in milliseconds that parts of the cases do not exceed.
type quantiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func (h *histogram) quantiles() *quantiles {
	total := int64(0)
	for i := range h.buckets {
		total += h.buckets[i].Load()
	}
	at := func(part float64) float64 {
		left := int64(part * float64(total))
		for i := range h.buckets {
			if left -= h.buckets[i].Load(); left < 0 {
				return milliseconds(min(topOf(i), time.Duration(h.largest.Load())))
			}
		}
		return milliseconds(time.Duration(h.largest.Load()))
	}
	return &quantiles{at(0.5), at(0.99), at(0.999), milliseconds(time.Duration(h.largest.Load()))}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}

func (q *quantiles) String() string {
	text := func(ms float64) string {
		d := time.Duration(ms * float64(time.Millisecond))
		unit := time.Microsecond
		for d >= 1000*unit {
			unit *= 10
		}
		return d.Round(unit).String()
	}
	return fmt.Sprintf("p50 %s, p99 %s, p999 %s, at most %s", text(q.P50), text(q.P99), text(q.P999), text(q.Max))
}
