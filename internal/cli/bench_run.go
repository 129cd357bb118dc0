package cli

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed"
)

const (
	// benchUnderWay bounds the events that are published and not handled. Without it
	// the length of the queue would be measured.
	benchUnderWay = 32 << 10
	// benchKeys is how many keys the events have.
	benchKeys = 4096
	// benchWarm is the part of the work that comes before the measurement.
	benchWarm = 10
)

// benchmark publishes events and handles them again.
type benchmark struct {
	app   *app
	bus   *deed.Bus
	topic *deed.Topic
	flags *benchFlags
	keys  []string
	noise []byte

	started time.Time // what the clocks in events count from
	handled atomic.Int64
	latency histogram
	round   atomic.Pointer[benchRound]
}

func newBenchmark(a *app, bus *deed.Bus, topic *deed.Topic, f *benchFlags) *benchmark {
	b := &benchmark{app: a, bus: bus, topic: topic, flags: f, started: time.Now()}
	for i := range benchKeys {
		b.keys = append(b.keys, "key-"+strconv.Itoa(i))
	}
	b.noise = make([]byte, 2*int(f.size))
	for i := range b.noise {
		b.noise[i] = byte(rand.Uint32())
	}
	return b
}

// run warms up, measures, and makes sure that all was settled.
func (b *benchmark) run(ctx context.Context) (*benchDoc, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	consuming, stopConsuming := context.WithCancel(ctx)
	defer stopConsuming()
	var consumer sync.WaitGroup
	consumer.Go(func() {
		if err := b.bus.Run(consuming, deed.Subscribe(benchName, nil, deed.OnAny(b.topic, b.handle))); err != nil {
			stop(err)
		}
	})
	doc, err := b.measure(ctx)
	stopConsuming()
	consumer.Wait()
	if err = cmp.Or(context.Cause(ctx), err); err != nil {
		return nil, err
	}
	lags, err := lagsOf(ctx, b.bus, benchName, b.topic.Name())
	for _, l := range lags {
		if l.Events > 0 || l.Parked > 0 || l.Dead > 0 {
			return nil, fmt.Errorf("partition %d: %s not settled, %d parked, %d dead, though all were handled",
				l.Partition, plural(l.Events, "event"), l.Parked, l.Dead)
		}
	}
	return doc, err
}

func (b *benchmark) measure(ctx context.Context) (*benchDoc, error) {
	f := b.flags
	warm := newBenchRound(b, (f.events+benchWarm-1)/benchWarm, f.duration/benchWarm)
	if err := warm.run(ctx, "warming up"); err != nil {
		return nil, err
	}
	b.latency = histogram{} // nothing is under way
	r := newBenchRound(b, f.events, f.duration)
	if err := r.run(ctx, "measuring"); err != nil {
		return nil, err
	}
	if r.published.Load() == 0 {
		return nil, errors.New("no event was published in time (give it a longer --duration)")
	}
	features, took := b.bus.Features(), r.took().Seconds()
	doc := &benchDoc{
		Engine: features.Engine, Durability: features.Durability.String(), class: features.Durability,
		Publishers: f.publishers, Batch: f.batch, Size: int64(f.size), Rate: float64(f.rate),
		Events: r.published.Load(), Seconds: took, Publish: r.calls.quantiles(),
	}
	doc.PerSecond = float64(doc.Events) / took
	doc.BytesPerSecond = doc.PerSecond * float64(f.size)
	if f.rate > 0 {
		doc.Latency = b.latency.quantiles()
	}
	return doc, nil
}

// handle takes the time of an event.
func (b *benchmark) handle(_ context.Context, e deed.Received[[]byte]) error {
	now := time.Since(b.started)
	b.latency.add(now - time.Duration(binary.LittleEndian.Uint64(e.Data)))
	b.round.Load().counted(b.handled.Add(1), now)
	return nil
}

// drafts makes n events, of which the one numbered i, from first on, has clock(i).
func (b *benchmark) drafts(first int64, n int, clock func(i int64) time.Duration) []deed.Draft {
	size := int(b.flags.size)
	block := make([]byte, n*size)
	drafts := make([]deed.Draft, n)
	for i := range drafts {
		number := first + int64(i)
		data := block[i*size : (i+1)*size : (i+1)*size]
		copy(data, b.noise[number%int64(size):])
		binary.LittleEndian.PutUint64(data, uint64(clock(number)))
		drafts[i] = deed.NewDraft(b.topic, deed.Event{
			Type: benchName, Key: b.keys[number%benchKeys], ContentType: "application/octet-stream", Data: data,
		})
	}
	return drafts
}
