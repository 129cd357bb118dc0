package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// sendBytes bounds the data that one call of the bus carries; a single event above
// it goes alone.
const sendBytes = 8 << 20

// run is what goes to one partition in one call: rows with consecutive stamps of
// one producer. Rows of the partition's next producer wait for the next call, since
// an engine that refuses the first of two batches may store the second.
type run struct {
	at   place
	seqd deed.Sequenced
	last int64 // sequence number of the last event
	more bool  // the partition has further rows
	bad  error // the only row cannot be read
}

// send sends the stamped rows of the lane's partitions, each partition's in order,
// all in one call. It reports whether it got on and there is more.
func (r *relay) send(ctx context.Context, l lane) (more bool, err error) {
	var runs []*run
	var batch []deed.Sequenced
	bytes := 0
	for _, at := range r.takeDirty(l) {
		if bytes >= sendBytes {
			r.mark(at)
			more = true
			continue
		}
		next, size, err := r.read(ctx, at)
		if err == nil && next != nil && next.bad != nil {
			next, err = nil, r.setAside(ctx, next, next.bad)
		} else if err == nil && next == nil {
			r.troubles.clear(at)
		}
		if err != nil {
			r.mark(at)
			r.remark(runs)
			return false, err
		}
		if next != nil {
			bytes += size
			runs = append(runs, next)
			sequenced := next.seqd
			if seeded("stamps") { // each time it is sent it is another's first
				sequenced.Producer, sequenced.Seq = sequenced.Producer+time.Now().String(), 1
			}
			batch = append(batch, sequenced)
		}
	}
	if len(runs) == 0 {
		return false, nil
	}
	if seeded("confirm") {
		if err := r.confirm(ctx, runs, make([]error, len(runs))); err != nil {
			return false, err
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	errs := r.bus.PublishSequenced(callCtx, batch)
	if err := r.confirm(ctx, runs, errs); err != nil {
		r.remark(runs)
		return false, err
	}
	progress := false
	for i, run := range runs {
		switch {
		case errs[i] == nil:
			progress = true
			more = more || run.more
			r.sent(run)
		case errors.Is(errs[i], driver.ErrClosed):
			r.remark(runs)
			return false, errs[i]
		default:
			r.mark(run.at)
			if err := r.unsent(ctx, run, errs[i]); err != nil {
				return false, err
			}
		}
	}
	return progress && more, nil
}

// takeDirty returns the partitions of the lane that have rows to send, and notes
// that they are being seen to. Those in trouble are looked at in any case, for they
// may have nothing left to send.
func (r *relay) takeDirty(l lane) []place {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []place
	if l != mainLane {
		for _, p := range r.troubles.list() {
			if p.partition != noPartition {
				r.dirty[p] = true
			}
		}
	}
	for p := range r.dirty {
		if l.open(&r.troubles, p) {
			all = append(all, p)
			delete(r.dirty, p)
		}
	}
	return all
}

func (r *relay) remark(runs []*run) {
	for _, run := range runs {
		r.mark(run.at)
	}
}

// read returns the first unsent run of a partition, nil when there is none.
func (r *relay) read(ctx context.Context, at place) (*run, int, error) {
	limit := r.opts.Batch
	if r.troubles.get(at).singly > 0 {
		limit = 1
	}
	rows, err := r.db.SQL().QueryContext(ctx, r.db.Rebind("select settings, event, data, producer, seq "+
		"from deed_outbox where state = 'stamped' and topic = ? and partition_no = ? order by turn limit ?"),
		at.topic, at.partition, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("read stamped rows: %w", err)
	}
	defer rows.Close()
	var next *run
	bytes := 0
	for rows.Next() {
		var settings, attributes, producer string
		var data []byte
		var seq int64
		if err := rows.Scan(&settings, &attributes, &data, &producer, &seq); err != nil {
			return nil, 0, fmt.Errorf("read stamped rows: %w", err)
		}
		if next == nil {
			next = &run{at: at, last: seq - 1, seqd: deed.Sequenced{
				Topic: r.topics.get(at.topic, settings), Partition: at.partition, Producer: producer, Seq: seq}}
		}
		full := len(next.seqd.Events) == limit || bytes > 0 && bytes+len(data) > sendBytes
		if full || producer != next.seqd.Producer || seq != next.last+1 {
			next.more = true
			break
		}
		var e deed.Event
		if err := json.Unmarshal([]byte(attributes), &e); err != nil {
			if next.more = len(next.seqd.Events) > 0; !next.more {
				next.bad = fmt.Errorf("the row's event cannot be read: %w", err)
			}
			break
		}
		e.Data = data
		next.seqd.Events = append(next.seqd.Events, e)
		next.last = seq
		bytes += len(data)
	}
	return next, bytes, rows.Err()
}

// confirm marks the rows of the runs that were stored.
func (r *relay) confirm(ctx context.Context, runs []*run, errs []error) error {
	stored := false
	for _, err := range errs {
		stored = stored || err == nil
	}
	if !stored {
		return nil
	}
	query := r.db.Rebind("update deed_outbox set state = 'sent', changed = ? where state = 'stamped' " +
		"and topic = ? and partition_no = ? and producer = ? and seq between ? and ?")
	err := r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := time.Now().UnixMilli()
		for i, run := range runs {
			if errs[i] != nil {
				continue
			}
			_, err := tx.ExecContext(ctx, query, now, run.at.topic, run.at.partition,
				run.seqd.Producer, run.seqd.Seq, run.last)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark rows as sent: %w", err)
	}
	return nil
}

// sent ends a partition's trouble, unless it was sent a single event to find one
// that is refused and that is not found yet.
func (r *relay) sent(run *run) {
	r.mu.Lock()
	r.sentTo[run.at] = deed.Sequenced{
		Topic: run.seqd.Topic, Partition: run.at.partition, Producer: run.seqd.Producer, Seq: run.last + 1}
	r.mu.Unlock()
	if run.more {
		r.mark(run.at)
	}
	if t := r.troubles.get(run.at); t.singly > 1 && run.more {
		r.troubles.again(run.at, func(t *trouble) { t.singly-- })
		return
	}
	r.troubles.clear(run.at)
}

// unsent decides what happens after a run was not stored. It returns errors of the
// database only.
func (r *relay) unsent(ctx context.Context, run *run, cause error) error {
	t := r.troubles.get(run.at)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(cause, driver.ErrNotFound) && !errors.Is(cause, driver.ErrLost):
		// Deleted, with what was on it: what is left of the numbers leads nowhere.
		r.forget(run.at.topic)
		d := r.troubles.add(run.at, nil)
		r.log.Warn("outbox: the topic was deleted; its events wait for it to be created",
			"topic", run.at.topic, "partition", run.at.partition, "in", d, "error", cause)
		return r.unstamp(ctx, run.at)
	case errors.Is(cause, driver.ErrNotFound): // lost: the next try creates it, and meets the gap
	case errors.Is(cause, driver.ErrRefused) && len(run.seqd.Events) > 1:
		r.troubles.again(run.at, func(t *trouble) { t.singly = len(run.seqd.Events) })
		return nil
	case errors.Is(cause, driver.ErrRefused) && r.moved(ctx, run):
		r.troubles.add(run.at, nil)
		return r.unstamp(ctx, run.at)
	case errors.Is(cause, driver.ErrRefused):
		return r.setAside(ctx, run, cause)
	case errors.Is(cause, driver.ErrGap) && !t.rewound:
		return r.rewind(ctx, run.at)
	case errors.Is(cause, driver.ErrGap):
		r.log.Error("outbox: the engine lost events that it had acknowledged, and the outbox has them no longer",
			"topic", run.at.topic, "partition", run.at.partition, "producer", run.seqd.Producer, "before", run.seqd.Seq)
		r.troubles.add(run.at, func(t *trouble) { t.rewound = false })
		return r.unstamp(ctx, run.at)
	}
	d := r.troubles.add(run.at, nil)
	r.log.Warn("outbox: a partition's events wait", "topic", run.at.topic, "partition", run.at.partition,
		"in", d, "error", cause)
	return nil
}

// rewind makes everything sent to a partition unsent again, whoever sent it, so that it
// goes out before the run that met the gap. The engine recognises what it has.
func (r *relay) rewind(ctx context.Context, at place) error {
	n := 0
	if r.remembers() { // else what is lost was never promised
		err := r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			n = 0
			return affected(&n)(tx.ExecContext(ctx, r.db.Rebind("update deed_outbox set state = 'stamped' "+
				"where state = 'sent' and topic = ? and partition_no = ?"), at.topic, at.partition))
		})
		if err != nil {
			return fmt.Errorf("rewind: %w", err)
		}
	}
	if n > 0 {
		r.log.Error("outbox: the engine lost events that it had acknowledged; sending again what is kept",
			"topic", at.topic, "partition", at.partition, "kept", n)
	}
	r.mu.Lock()
	delete(r.sentTo, at) // until something is sent again
	r.mu.Unlock()
	r.troubles.again(at, func(t *trouble) { t.rewound = true })
	return nil
}

// moved reports whether the run's event belongs to another partition by now: the
// topic was made anew with another number of them.
func (r *relay) moved(ctx context.Context, run *run) bool {
	e := run.seqd.Events[0]
	if e.Key == "" {
		return false
	}
	p, err := r.partition(ctx, run.seqd.Topic, e)
	return err == nil && p != run.at.partition
}

// setAside takes an event that the engine refuses out of the way. What comes behind
// it goes on after a pause that grows while more is refused, so that an engine which
// refuses everything does not empty the outbox at once.
func (r *relay) setAside(ctx context.Context, run *run, cause error) error {
	err := r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, r.db.Rebind("update deed_outbox set state = 'refused', changed = ?, "+
			"error = ?, partition_no = null, producer = null, seq = null, turn = null "+
			"where state = 'stamped' and topic = ? and partition_no = ? and producer = ? and seq = ?"),
			time.Now().UnixMilli(), cause.Error(), run.at.topic, run.at.partition, run.seqd.Producer, run.seqd.Seq)
		return err
	})
	if err != nil {
		return fmt.Errorf("set a refused event aside: %w", err)
	}
	r.log.Error("outbox: an event was refused and set aside; later ones of its key go on (see Outbox.Refused and Retry)",
		append([]any{"topic", run.at.topic, "error", cause}, run.names()...)...)
	r.troubles.add(run.at, func(t *trouble) { t.singly = 0 })
	return r.unstamp(ctx, run.at)
}

// names returns what a log line says about the run's first event.
func (run *run) names() []any {
	if len(run.seqd.Events) == 0 {
		return nil
	}
	e := run.seqd.Events[0]
	return []any{"id", e.ID, "type", e.Type, "key", e.Key}
}

const (
	cleanEvery = time.Second
	cleanBatch = 500
)

// clean removes rows that were sent Keep ago, a few at a time, while no partition is
// in trouble and the engine answers: what it has lost when it is away is not known yet.
func (r *relay) clean(ctx context.Context) {
	query := r.db.Rebind("delete from deed_outbox where id in (select id from (select id from deed_outbox " +
		"where state = 'sent' and changed < ? order by changed limit ?) as old)")
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for n := cleanBatch; n == cleanBatch && ctx.Err() == nil && r.sure() && r.old(ctx); {
			err := r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				n = 0
				return affected(&n)(tx.ExecContext(ctx, query, time.Now().Add(-r.opts.Keep).UnixMilli(), cleanBatch))
			})
			if err != nil && ctx.Err() == nil {
				r.log.Warn("outbox: cannot remove old rows", "error", err)
				break
			}
		}
	}
}

// sure reports whether the engine, as far as is known, has all that was sent.
func (r *relay) sure() bool { return !r.troubles.partitions() && !r.unsure.Load() }

// old reports whether there are rows to remove, without a write transaction.
func (r *relay) old(ctx context.Context) (found bool) {
	err := r.db.SQL().QueryRowContext(ctx, r.db.Rebind("select exists (select 1 from deed_outbox "+
		"where state = 'sent' and changed < ?)"), time.Now().Add(-r.opts.Keep).UnixMilli()).Scan(&found)
	return err == nil && found
}
