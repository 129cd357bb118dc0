package deedredis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

const (
	// blockFor is how long the server holds an XREAD that finds nothing.
	blockFor = 2 * time.Second
	// readMin and readMax bound how many entries of a stream one XREAD asks for.
	readMin, readMax = 32, 512
	// readBytes is how much data one XREAD should bring, going by the size of the
	// events before. An event may be larger than those by what an engine takes.
	readBytes = 4 << 20
	// lookAgain is when a partition that cannot be read on is tried again.
	lookAgain = time.Second
	// interruptAgain is when an XREAD is told again to end that had not begun.
	interruptAgain = 2 * time.Millisecond
)

// reader reads streams with a connection of its own, since an XREAD blocks it. On a
// single server one reads all streams of a subscription; in a cluster each has one.
type reader struct {
	s          *subscription
	partitions []int
	work       chan reading // of one

	mu      sync.Mutex
	current *reading // what it is doing, nil when nothing
	cut     bool     // the reading is to end: that its connection failed means nothing
	found   *found   // not collected yet
	conn    rueidis.DedicatedClient
	id      int64 // of the connection, for CLIENT UNBLOCK; 0 when it is not known
}

// reading is one XREAD.
type reading struct {
	wants []want
	count int
}

// want is a stream to read and the position to read it from.
type want struct {
	partition int
	epoch     int64
	after     position
}

// found is what a reading brought.
type found struct {
	reading
	entries map[int][]driver.Delivery // by partition
	stuck   map[int]error             // by partition, what comes after those
	fresh   bool                      // the connection is new: nothing was read
	idle    bool                      // there was nothing to read
	err     error
}

func (s *subscription) addReaders() {
	n := s.topic.info.Partitions
	all := make([]int, n)
	for p := range n {
		all[p] = p
	}
	groups := [][]int{all}
	if s.c.cluster {
		groups = groups[:0]
		for p := range n {
			groups = append(groups, []int{p})
		}
	}
	for _, ps := range groups {
		r := &reader{s: s, partitions: ps, work: make(chan reading, 1)}
		s.readers = append(s.readers, r)
		s.done.Go(r.loop)
	}
}

// collect takes what the readers have found. It reports partitions that the server has
// lost something of: they are claimed again, from where the server says. And those that
// cannot be read on, or can again.
func (s *subscription) collect(ctx context.Context, report *driver.Received) error {
	for _, r := range s.readers {
		r.mu.Lock()
		f := r.found
		r.found = nil
		r.mu.Unlock()
		if f == nil {
			continue
		}
		if f.err != nil {
			return f.err
		}
		if f.fresh {
			some, err := s.check(ctx, r.partitions)
			if report.Lost = append(report.Lost, some...); err != nil {
				r.disconnect() // to be checked again
				return err
			}
		}
		for _, w := range f.wants {
			x := s.places[w.partition]
			if x == nil || x.epoch != w.epoch || x.next != w.after || x.stopped {
				continue // not ours any more, or not from there
			}
			ds, stuck := f.entries[w.partition], f.stuck[w.partition]
			if len(ds) > 0 || stuck != nil || f.idle {
				x.obstruct(w.partition, stuck, report)
			}
			if len(ds) == 0 {
				continue
			}
			last, err := parsePosition(ds[len(ds)-1].Position)
			if err != nil {
				return err
			}
			if x.replay.compare(x.next) > 0 {
				markReplays(ds, x.replay)
			}
			x.ahead, x.next = ds, last // nothing was left, or it would not have been read
		}
	}
	return nil
}

// obstruct notes what reading a place met behind what it brought, nil for nothing.
func (x *place) obstruct(partition int, stuck error, report *driver.Received) {
	if stuck != nil {
		x.look = time.Now().Add(lookAgain)
	}
	if (stuck == nil) != (x.stuck == nil) || stuck != nil && stuck.Error() != x.stuck.Error() {
		report.Stopped = append(report.Stopped, driver.Stopped{Partition: partition, Err: stuck})
	}
	x.stuck = stuck
}

func markReplays(ds []driver.Delivery, upTo position) {
	for i := range ds {
		p, err := parsePosition(ds[i].Position)
		ds[i].Replay = err == nil && p.compare(upTo) <= 0
	}
}

// read keeps the readers busy with what may be fetched. It returns when to look again,
// 0 for when something happens.
func (s *subscription) read(f driver.Fetch) (again time.Duration) {
	for _, x := range s.places {
		if x.stuck != nil {
			again = lookAgain
		}
	}
	for _, r := range s.readers {
		wants := s.wants(r.partitions)
		r.mu.Lock()
		current := r.current
		r.mu.Unlock()
		switch {
		case current == nil && len(wants) > 0:
			r.begin(reading{wants, s.count(f, len(wants))})
		case current != nil && lacks(current.wants, wants):
			r.interrupt()
			again = interruptAgain
		}
	}
	return again
}

// wants returns the streams that nothing is left of in memory.
func (s *subscription) wants(partitions []int) []want {
	wants, now := make([]want, 0, len(partitions)), time.Now()
	for _, p := range partitions {
		if x := s.places[p]; x != nil && !x.stopped && len(x.ahead) == 0 && !(x.stuck != nil && now.Before(x.look)) {
			wants = append(wants, want{p, x.epoch, x.next})
		}
	}
	return wants
}

// lacks reports whether a reading leaves out something that is wanted.
func lacks(has, wants []want) bool {
	for _, w := range wants {
		if !slices.Contains(has, w) {
			return true
		}
	}
	return false
}

// count is how many entries to ask of each stream.
func (s *subscription) count(f driver.Fetch, streams int) int {
	n := min(max(f.Events/streams, readMin), readMax)
	if s.topic.info.Pack {
		n = max(1, n/packMost)
	}
	if size := s.c.entryBytes.Load(); size > 0 {
		n = min(n, max(1, int(readBytes/int64(streams)/size)))
	}
	return n
}

// begin hands a reading over.
func (r *reader) begin(w reading) {
	r.mu.Lock()
	r.current, r.cut = &w, false
	r.mu.Unlock()
	r.work <- w
}

// loop does one reading after the other until the subscription ends.
func (r *reader) loop() {
	defer r.disconnect()
	for {
		select {
		case <-r.s.ctx.Done():
			return
		case w := <-r.work:
			f := r.xread(w)
			f.reading = w
			if f.err != nil {
				r.disconnect()
			}
			r.mu.Lock()
			if r.cut {
				f.err = nil
			}
			r.current, r.found = nil, &f
			r.mu.Unlock()
			r.s.ready.Notify()
		}
	}
}

// xread reads once. A reading that was interrupted, or that met nothing for a while,
// has found nothing.
func (r *reader) xread(w reading) (f found) {
	conn, fresh, err := r.connect()
	if err != nil {
		f.err = err
		return f
	}
	c := r.s.c
	if fresh { // the server may be another one now, or have lost something
		f.fresh = true
		return f
	}
	streams := make([]string, len(w.wants))
	ids := make([]string, len(w.wants))
	for i, x := range w.wants {
		streams[i], ids[i] = r.s.topic.keys[x.partition][0], cmpID(x.after)
	}
	ctx, cancel := context.WithTimeout(r.s.ctx, blockFor+c.settings.client.ConnWriteTimeout)
	defer cancel()
	m, err := conn.Do(ctx, conn.B().Xread().Count(int64(w.count)).Block(blockFor.Milliseconds()).
		Streams().Key(streams...).Id(ids...).Build()).ToMessage()
	if rueidis.IsRedisNil(err) {
		f.idle = true
		return f
	}
	if err == nil {
		err = r.parse(&m, w, streams, &f)
	}
	f.err = err
	return f
}

// cmpID is a position as XREAD takes it.
func cmpID(p position) string {
	if p == (position{}) {
		return "0"
	}
	return p.String()
}

// parse reads the answer of XREAD into f.
func (r *reader) parse(m *rueidis.RedisMessage, w reading, streams []string, f *found) error {
	byStream, err := m.AsMap()
	if err != nil {
		return err
	}
	f.entries, f.stuck = make(map[int][]driver.Delivery, len(byStream)), make(map[int]error)
	read, bytes := 0, 0
	for i, x := range w.wants {
		list, ok := byStream[streams[i]]
		if !ok {
			continue
		}
		entries, err := list.ToArray()
		if err != nil {
			return err
		}
		ds := make([]driver.Delivery, 0, len(entries))
		for k := range entries {
			e, err := parseEntry(&entries[k])
			if err == nil {
				ds, err = e.deliveries(ds, r.s.spec.Topic, x.partition, x.after)
			}
			if errors.Is(err, errNotReadable) {
				f.stuck[x.partition] = err
				break
			}
			if err != nil {
				return err
			}
		}
		for k := range ds {
			bytes += len(ds[k].Data)
		}
		read += len(entries)
		f.entries[x.partition] = ds
	}
	if read > 0 {
		r.s.c.weigh(int64(bytes / read))
	}
	return nil
}

// weigh notes the size of entries: larger ones at once, smaller ones by and by.
func (c *Conn) weigh(size int64) {
	if before := c.entryBytes.Load(); size < before {
		size = (7*before + size) / 8
	}
	c.entryBytes.Store(max(size, 1))
}

// connect returns the reader's connection, and whether it is a new one.
func (r *reader) connect() (conn rueidis.DedicatedClient, fresh bool, err error) {
	r.mu.Lock()
	conn = r.conn
	r.mu.Unlock()
	if conn != nil {
		return conn, false, nil
	}
	conn, _ = r.s.c.client.Dedicate()
	id := int64(0)
	if !r.s.c.cluster {
		// Where it is not allowed the connection is closed to end a reading.
		id, err = conn.Do(r.s.ctx, conn.B().ClientId().Build()).AsInt64()
		if _, server := rueidis.IsRedisErr(err); err != nil && !server {
			conn.Close()
			return nil, false, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn, r.id = conn, id
	return conn, true, nil
}

// disconnect ends a reading by closing its connection.
func (r *reader) disconnect() {
	r.mu.Lock()
	conn := r.conn
	r.conn, r.id = nil, 0
	r.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// interrupt ends the reading in progress.
func (r *reader) interrupt() {
	r.mu.Lock()
	id := r.id
	r.cut = true
	r.mu.Unlock()
	if id > 0 {
		c := r.s.c
		err := c.client.Do(r.s.ctx, c.client.B().Arbitrary("CLIENT", "UNBLOCK", strconv.FormatInt(id, 10)).Build()).Error()
		if _, server := rueidis.IsRedisErr(err); err == nil || !server || errors.Is(err, context.Canceled) {
			return
		}
	}
	r.disconnect()
}
