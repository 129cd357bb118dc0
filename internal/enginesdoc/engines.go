package main

import "github.com/deedgo/deed/driver"

// The means by which an engine keeps a guarantee: those of the system below it, or what
// deed does on top of that.
const (
	native = "natively: "
	own    = "deed: "
)

// described is what people are told of an engine, by how document.go shows its URL.
type described struct {
	url     string
	name    string // in the README, as the next two
	example string
	purpose string
	// How it keeps each guarantee, by native or own, "" where its features refuse it. No
	// means at all: the engine has no column in the table of guarantees.
	how [guaranteeCount]string
}

const guaranteeCount = 11

// Means that several engines share.
const (
	roomOnly   = own + "it fetches what there is room for"
	says       = own + "refusals that say what to do"
	oneWriter  = own + "one writer at a time has a partition"
	oneStep    = own + "sequences and ids are checked in the transaction that stores"
	inTables   = own + "tables of the side log"
	epochs     = own + "the epoch is checked in every transaction"
	subtract   = own + "the end minus the position, both dense"
	highest    = own + "the highest position ever settled is kept"
	newNumbers = own + "generations and epochs never come twice"
)

var engines = []described{
	{
		url: "sqlite:FILE", name: "SQLite, embedded", example: "sqlite:orders.db",
		purpose: "one machine, any number of processes",
		how: [...]string{
			native + "`synchronous=FULL`, one commit for many callers", own + "positions under the lock of the one writer",
			oneWriter, oneStep, inTables, roomOnly, epochs, subtract, highest, newNumbers, says,
		},
	},
	{
		url: "postgres://HOST", name: "Postgres 13", example: "postgres://localhost/shop",
		purpose: "[the database you already run](docs/guides/postgres.md); several services",
		how: [...]string{
			native + "`synchronous_commit`", own + "positions under an advisory lock", oneWriter, oneStep, inTables, roomOnly,
			epochs, subtract, highest, newNumbers, says,
		},
	},
	{
		url: "mysql://HOST", name: "MariaDB 10.6, MySQL 8", example: "mysql://localhost/shop",
		purpose: "[the same](docs/guides/mysql.md); tested on MariaDB",
		how: [...]string{
			native + "`innodb_flush_log_at_trx_commit`", own + "positions under a row's lock", oneWriter, oneStep, inTables,
			roomOnly, epochs, subtract, highest, newNumbers, says,
		},
	},
	{
		url: "redis://HOST", name: "Redis Streams 7.0, Valkey", example: "redis://localhost:6379",
		purpose: "[fast, many services](docs/guides/redis.md); one server, sentinels, cluster",
		how: [...]string{
			native + "`appendfsync always`, `WAIT`", own + "a position of its own beside the Redis stream",
			native + "the order of a Redis stream", own + "a script checks and stores", own + "keys in the partition's slot",
			roomOnly, own + "scripts check the epoch", own + "a script counts", highest,
			own + "markers, and members that compare what they remember", says,
		},
	},
	{
		url: "nats://HOST", name: "NATS JetStream 2.9", example: "nats://localhost:4222",
		purpose: "[a broker that many teams share](docs/guides/nats.md); tested on one server and a cluster of three",
		how: [...]string{
			native + "`sync_interval: always`, replicas", own + "appends that name the last message",
			native + "the order of a subject", own + "sequences in headers, ids in `Nats-Msg-Id`",
			own + "a journal for each group and partition", roomOnly, own + "a journal that takes one writer", subtract, highest,
			own + "ends of logs are compared", says,
		},
	},
	{
		url: "kafka://HOST --state sqlite:FILE", name: "Kafka",
		example: "kafka://localhost:9092` with `--state sqlite:state.db",
		purpose: "the Kafka you already run; [a second engine](docs/guides/kafka.md) keeps dead letters; tested on kfake",
		how: [...]string{
			native + "acknowledged by all replicas in sync", native + "offsets of a log", native + "the order of a partition",
			own + "claims and crash marks in the state", own + "the state's side log", roomOnly,
			native + "generations of the group; and the state's epochs", native + "the end minus the offset",
			own + "the highest position is in the offset's metadata", native + "ids of topics; and a catalog", says,
		},
	},
	{
		url: "amqp://HOST --state sqlite:FILE", name: "RabbitMQ 3.8",
		example: "amqp://localhost` with `--state sqlite:state.db",
		purpose: "the RabbitMQ you already run; [a second engine](docs/guides/rabbitmq.md) keeps all but the events; " +
			"tested on one node",
		how: [...]string{
			native + "confirms of quorum queues", native + "a queue for each group and partition, with acknowledgements",
			native + "the order of a queue with a single active consumer", own + "claims and crash marks in the state",
			own + "the state's side log", roomOnly + ", of 256 events that came for each partition",
			own + "the state's epochs; and one active consumer",
			own + "what waits in the queues, and what members say they have", "",
			own + "the state's generations and epochs; and queues that are missed", says,
		},
	},
	{
		url: "amqp://HOST?queues=stream --state sqlite:FILE", name: "RabbitMQ 3.9, streams",
		example: "amqp://localhost?queues=stream` with `--state sqlite:state.db",
		purpose: "the same with [what was handled kept](docs/guides/rabbitmq.md#queues-or-streams), for replays and new " +
			"groups; tested on one node",
		how: [...]string{
			native + "confirms of streams, which are not synced", native + "offsets of a stream",
			native + "the order of a stream",
			own + "claims and crash marks in the state", own + "the state's side log",
			roomOnly + ", of 256 events that came for each partition, or a chunk", own + "the state's epochs",
			own + "the end of the stream, which is read, minus the position", highest,
			own + "the state's generations and epochs; markers, and ends that are missed", says,
		},
	},
	{
		url: "redis+pubsub://HOST", name: "Redis Pub/Sub", example: "redis+pubsub://localhost:6379",
		purpose: "[announcements](docs/guides/pubsub.md) that are heard and not kept, by pattern",
	},
	{
		url: "mqtt://HOST", name: "MQTT 5 and 3.1.1", example: "mqtt://localhost:1883",
		purpose: "[the edge](docs/guides/mqtt.md): devices, and a bridge into the engines above",
		how: [...]string{
			2: native + "the order of a topic over one connection",
			5: own + "the oldest that wait go, and are counted", 10: says,
		},
	},
	{
		url: "mem:", name: "memory", example: "mem:`, `mem+pubsub:",
		purpose: "tests",
		how: [...]string{
			native + "while the process lives", own + "positions under one lock", own + "one log for each partition",
			own + "sequences and ids are checked in the step that stores", own + "in memory", roomOnly,
			own + "the epoch is checked in every step", subtract, highest, newNumbers, says,
		},
	},
}

// guarantee is a row of the table of guarantees.
type guarantee struct {
	name  string // of its heading in docs/guarantees.md
	keeps func(driver.Features) bool
	// parts of it take a feature of their own. Where that is missing, they are refused.
	parts []part
	// checks of drivertest hold an engine to it that keeps it, and heard one that stores
	// nothing.
	checks, heard []string
}

type part struct {
	text string
	has  func(driver.Features) bool
}

func all(driver.Features) bool { return true }

func stores(f driver.Features) bool { return !f.Ephemeral }

var guarantees = [guaranteeCount]guarantee{
	{name: "Accepted is durable", keeps: stores, checks: []string{"accepted-outlives-its-connection", "receipts"}},
	{
		name: "Nothing is skipped", keeps: func(f driver.Features) bool { return f.Groups },
		parts: []part{{
			"events that wait for slow groups past the retention", func(f driver.Features) bool { return f.Retention },
		}},
		checks: []string{"nothing-skipped", "group-goes-on", "groups-are-independent"},
	},
	{
		name: "Order per key", keeps: func(f driver.Features) bool { return f.KeyOrder },
		checks: []string{"order-of-a-key", "order-of-batches"}, heard: []string{"listeners-hear-all"},
	},
	{
		name: "Effects once", keeps: func(f driver.Features) bool { return f.SideLog && f.Fenced },
		parts: []part{
			{"a publisher's retries after an unknown outcome", func(f driver.Features) bool { return f.Sequence }},
			{"an id window", func(f driver.Features) bool { return f.Dedupe }},
		},
		checks: []string{"fenced-settle", "fenced-side-log"},
	},
	{
		name: "Nothing disappears", keeps: func(f driver.Features) bool { return f.SideLog },
		checks: []string{"park-keeps-everything", "letters-redriven", "marks"},
	},
	{
		name: "Bounded", keeps: all, checks: []string{"fetch-bounds", "fetch-full"},
		heard: []string{"listener-bounds", "unheard-is-counted"},
	},
	{
		name: "Fenced", keeps: func(f driver.Features) bool { return f.Fenced },
		checks: []string{"fenced-settle", "fenced-settle-in-part", "epochs-grow"},
	},
	{
		name: "Seen", keeps: func(f driver.Features) bool { return f.Lag },
		checks: []string{"lag-is-exact", "lag-names-the-owner"},
	},
	{
		name: "Replayable", keeps: func(f driver.Features) bool { return f.Reset },
		checks: []string{"reset-to", "replay-is-what-was-committed", "replay-is-nothing-new"},
	},
	{
		name: "No silent regression", keeps: stores,
		parts:  []part{{"an outbox that asks what is still there", func(f driver.Features) bool { return f.Sequence }}},
		checks: []string{"topic-generation-never-repeats", "members-of-a-deleted-topic"},
	},
	{
		name: "Clear", keeps: all, checks: []string{"features-are-implemented", "features-never-change"},
		heard: []string{"features-are-implemented", "features-never-change"},
	},
}
