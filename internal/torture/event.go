package torture

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/deedgo/deed"
)

// Fact is what the events of a run say. All of it follows from Key and KV, so
// that a publisher which was killed can publish the same bytes again.
type Fact struct {
	Key    string `json:"key"`
	KV     int64  `json:"kv"` // its version within its key, from 1
	Amount int64  `json:"amount"`
	Poison bool   `json:"poison,omitempty"`
	Tx     string `json:"tx,omitempty"` // the transaction that it came from through an outbox
	Pad    string `json:"pad"`
}

// The partitions of the topics.
const (
	partitions        = 8
	accountPartitions = 4
)

// topic is where a run's events live. Its id window makes a publisher's second
// try after a crash store nothing twice.
var topic = deed.NewTopic("torture", &deed.TopicOptions{Partitions: partitions, Dedupe: time.Hour})

// accountTopic is where writers' events go. It has no id window: what stores them once is
// that their outbox stamps them.
var accountTopic = deed.NewTopic("torture-accounts", &deed.TopicOptions{Partitions: accountPartitions})

var accountType = deed.NewType(accountTopic, "torture.account", 1, func(f Fact) string { return f.Key })

var factType = deed.NewType(topic, "torture.fact", 1, func(f Fact) string { return f.Key })

// windowless is factType on an engine that has no id windows.
var windowless = deed.NewType(deed.NewTopic(topic.Name(), &deed.TopicOptions{Partitions: partitions}),
	factType.Name(), factType.Version(), func(f Fact) string { return f.Key })

// factTypeOn is factType, or windowless where a bus wants that.
func factTypeOn(bus *deed.Bus) *deed.Type[Fact] {
	if bus.Features().Dedupe {
		return factType
	}
	return windowless
}

// newFact makes event kv of a key: 200 bytes, and now and then 8 KB.
func newFact(key string, kv int64, poison bool) Fact {
	r := rand.New(rand.NewPCG(hash(key), uint64(kv)))
	size := 120
	if r.IntN(100) == 0 {
		size = 8 << 10
	}
	pad := make([]byte, size)
	for i := range pad {
		pad[i] = 'a' + byte(r.IntN(26))
	}
	return Fact{Key: key, KV: kv, Amount: amount(kv), Poison: poison, Pad: string(pad)}
}

// id names the event for good.
func (f Fact) id() string {
	id := fmt.Sprintf("%s/%d", f.Key, f.KV)
	if f.Tx != "" {
		id += "@" + f.Tx // the version of a transaction that was rolled back is given again
	}
	return id
}

// topics are those of a run with a load.
func (l Load) topics() []*deed.Topic {
	if l.Writers == 0 {
		return []*deed.Topic{topic}
	}
	return []*deed.Topic{topic, accountTopic}
}

// partOf numbers the partitions of all topics.
func partOf(topic string, partition int) int {
	if topic == accountTopic.Name() {
		partition += 100
	}
	return partition
}

// op starts an operation about the event.
func (f Fact) op(do Do) Op {
	op := Op{Do: do, ID: f.id(), Key: f.Key, KV: f.KV, Sum: f.sum()}
	if f.Poison {
		op.State = poisoned
	}
	return op
}

func opsOf(do Do, facts []Fact) []Op {
	ops := make([]Op, len(facts))
	for i, f := range facts {
		ops[i] = f.op(do)
	}
	return ops
}

// sum covers every byte that is published.
func (f Fact) sum() uint32 {
	data, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings, numbers and a boolean always marshal
	}
	return crc32.ChecksumIEEE(data)
}

// seen starts an operation about an event as it came back from the bus: its sum
// is that of the bytes that came, its id the one that the bus says.
func seen(do Do, id, key string, data []byte) Op {
	op := Op{Do: do, ID: id, Key: key, Sum: crc32.ChecksumIEEE(data)}
	var f Fact
	if err := json.Unmarshal(data, &f); err != nil {
		op.Err = err.Error()
		return op
	}
	op.KV = f.KV
	return op
}

// amount is what event kv of a key adds to the ledger.
func amount(kv int64) int64 { return kv%7 + 1 }

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
