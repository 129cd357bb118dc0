package torture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Do says what an [Op] records.
type Do string

// What processes record while they run. An outcome that nobody knows is Info,
// never a failure: the event may turn up.
const (
	Invoke  Do = "invoke"  // a publish is about to be tried
	OK      Do = "ok"      // it was acknowledged
	Info    Do = "info"    // it failed with an unknown outcome and is tried again
	Deliver Do = "deliver" // a handler starts
	Done    Do = "done"    // that handler is about to return nil
	Failed  Do = "failed"  // that handler is about to return an error
	Grant   Do = "grant"   // the engine gave a partition to a member
	Settle  Do = "settle"  // the engine stored a group's position
	Harm    Do = "harm"    // a nemesis starts; Err names it
	Heal    Do = "heal"    // and ends
	Redrive Do = "redrive" // dead letters were given to their groups again, N of them
	Lenient Do = "lenient" // from now on handlers accept poisoned events at times, redriven or not
	Sweep   Do = "sweep"   // retention removed N events
	Reset   Do = "reset"   // group Replay was taken back
	// Rollback is for an event whose transaction will never be committed. Those of others
	// are invoked right before the commit.
	Rollback Do = "rollback"
)

// What the harness adds when everything has come to rest.
const (
	Stored  Do = "stored"  // an event as it lies in the topic
	Effect  Do = "effect"  // a row that a handler wrote, in commit order
	Ledger  Do = "ledger"  // a key's running total in the consumers' database
	Account Do = "account" // what transactions have made of a key
	Letter  Do = "letter"  // a side-log record before the redrive
	Left    Do = "left"    // a side-log record after it
	Lag     Do = "lag"     // a partition that did not get to its end
)

// Op is one line of a history. Fields that an operation has no use for are zero.
type Op struct {
	Time   int64  `json:"t"`           // when it was recorded, in Unix nanoseconds
	Since  int64  `json:"s,omitempty"` // when it began, for operations that take time
	Proc   string `json:"p,omitempty"` // process and life, "consumer-2.5"
	Do     Do     `json:"do"`
	ID     string `json:"id,omitempty"`
	Key    string `json:"k,omitempty"`
	KV     int64  `json:"kv,omitempty"` // the event's version within its key, from 1
	Sum    uint32 `json:"crc,omitempty"`
	Group  string `json:"g,omitempty"`
	Part   int    `json:"part,omitempty"`
	Pos    string `json:"pos,omitempty"`
	Epoch  int64  `json:"e,omitempty"`
	Call   int64  `json:"c,omitempty"` // joins a publish's invoke with its outcome
	N      int64  `json:"n,omitempty"` // a count
	Run    int    `json:"r,omitempty"` // the run of the group that it belongs to
	Replay bool   `json:"rp,omitempty"`
	Quiet  bool   `json:"q,omitempty"`
	State  string `json:"st,omitempty"`
	Err    string `json:"err,omitempty"`
}

// Recorder appends operations to one process's own file. It does not sync: the
// file has to survive kill -9, which takes nothing from the page cache.
type Recorder struct {
	proc string
	mu   sync.Mutex
	file *os.File
	buf  bytes.Buffer
}

// NewRecorder records what process proc does, in dir.
func NewRecorder(dir, proc string) (*Recorder, error) {
	f, err := os.OpenFile(filepath.Join(dir, proc+logSuffix), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", proc, err)
	}
	return &Recorder{proc: proc, file: f}, nil
}

const logSuffix = ".ops.jsonl"

// Record writes ops with a single write. A process that cannot record must not go
// on, or what it does next would be missing from the history: Record panics.
func (r *Recorder) Record(ops ...Op) {
	now := time.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf.Reset()
	enc := json.NewEncoder(&r.buf)
	for _, op := range ops {
		op.Time, op.Proc = now, r.proc
		if err := enc.Encode(op); err != nil {
			panic(fmt.Sprintf("torture: record %s: %v", r.proc, err))
		}
	}
	if _, err := r.file.Write(r.buf.Bytes()); err != nil {
		panic(fmt.Sprintf("torture: record %s: %v", r.proc, err))
	}
}

// Close closes the file.
func (r *Recorder) Close() error { return r.file.Close() }

// ReadOps returns what the processes whose names match pattern recorded in dir. A
// torn last line is what kill -9 leaves in the middle of a write; any other line
// that cannot be read is an error.
func ReadOps(dir, pattern string) ([]Op, error) {
	files, err := filepath.Glob(filepath.Join(dir, pattern+logSuffix))
	if err != nil {
		return nil, err
	}
	var ops []Op
	for _, name := range files {
		if ops, err = readFile(ops, name); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

func readFile(ops []Op, name string) ([]Op, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil { // without a newline the line was torn, or there is none
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return ops, err
		}
		var op Op
		if err := json.Unmarshal(line, &op); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", name, n, err)
		}
		ops = append(ops, op)
	}
}
