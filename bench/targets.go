package main

import (
	"fmt"
	"strings"
)

// rawCase is what deed on SQLite is compared with.
const rawCase = "raw/sqlite 1x1000"

// The raw clients on the servers of SQL.
const (
	rawPostgresCase = "raw/postgres 4x1000"
	rawMySQLCase    = "raw/mysql 4x1000"
)

// The raw clients of brokers: end to end, and publishing alone.
const (
	rawNATSCase          = "nats/tcp 2x500"
	rawNATSPublishCase   = "nats/publish 2x500"
	rawRabbitCase        = "raw/rabbitmq 8x256"
	rawRabbitPublishCase = "raw/rabbitmq/publish 8x256"
	rawMQTTCase          = "raw/mqtt 8x256"
	rawMQTTPublishCase   = "raw/mqtt/publish 8x256"
	rawMQTT3Case         = "raw/mqtt3 8x256"
	rawMQTT3PublishCase  = "raw/mqtt3/publish 8x256"

	rawKafkaCase        = "raw/kafka 8x256"
	rawKafkaPublishCase = "raw/kafka/publish 8x256"

	rawStreamsCase        = "raw/rabbitmq-streams 8x256"
	rawStreamsPublishCase = "raw/rabbitmq-streams/publish 8x256"
)

// rawRedisLoad is how the raw client on Redis is driven.
const rawRedisLoad = " 8x256"

// target is something that the numbers of one run are held against.
type target struct {
	what string
	want float64
	most bool // the measured number is to be want at most, instead of at least
	got  func(r *result) (float64, bool)
}

// targetsOf lists them. They say nothing about other machines: each compares numbers
// of the same run, but for the processor time of an event in memory.
func targetsOf() []target {
	return []target{
		{what: "deed/sqlite end to end, of raw transactions of 1000 rows", want: 0.8,
			got: ratio("deed/sqlite 8x256", rawCase)},
		{what: "deed/sqlite end to end, of NATS JetStream that syncs always", want: 3,
			got: ratio("deed/sqlite 8x256", "nats/sync-always 2x500")},
		{what: "deed/mem, CPU µs an event", want: 1, most: true,
			got: func(r *result) (float64, bool) {
				v := r.median("deed/mem 8x256", cpuPerEvent)
				return v, v > 0
			}},
		{what: "deed/sqlite at 33333/s, p50 over the p50 of write + fdatasync in place", want: 4, most: true,
			got: func(r *result) (float64, bool) {
				v := r.median(fmt.Sprintf("deed/sqlite at %d/s", rateBusy), func(s sample) float64 { return float64(s.P50) })
				disk := float64(r.inPlace())
				return v / max(disk, 1), v > 0 && disk > 0
			}},
		{what: "deed/sqlite in a grown log, of an empty one", want: 0.8,
			got: ratio(systemGrown+" 8x256", "deed/sqlite 8x256")},
		{what: "deed/postgres end to end, of raw unnest inserts of 1000 rows on 4 connections", want: 0.6,
			got: ratio("deed/postgres 8x256", rawPostgresCase)},
		{what: "deed/postgres end to end, of watermill on Postgres", want: 3,
			got: ratio("deed/postgres 8x256", "watermill/sql 8x100")},
		{what: "deed/postgres end to end, of River", want: 3, got: ratio("deed/postgres 8x256", "river 2x500")},
		{what: "deed/nats end to end, of nats.go", want: 0.6, got: ratio("deed/nats 8x256", rawNATSCase)},
		{what: "deed/nats publishing, of nats.go", want: 0.6, got: ratio("deed/nats/publish 8x256", rawNATSPublishCase)},
		{what: "deed/mqtt end to end, of paho", want: 0.6, got: ratio("deed/mqtt 8x256", rawMQTTCase)},
		{what: "deed/mqtt publishing, of paho", want: 0.6, got: ratio("deed/mqtt/publish 8x256", rawMQTTPublishCase)},
		{what: "deed/mqtt3 end to end, of paho for 3.1.1", want: 0.6, got: ratio("deed/mqtt3 8x256", rawMQTT3Case)},
		{what: "deed/mqtt3 publishing, of paho for 3.1.1", want: 0.6,
			got: ratio("deed/mqtt3/publish 8x256", rawMQTT3PublishCase)},
		{what: "deed/rabbitmq end to end, of amqp091", want: 0.6, got: ratio("deed/rabbitmq 8x256", rawRabbitCase)},
		{what: "deed/rabbitmq publishing, of amqp091", want: 0.6,
			got: ratio("deed/rabbitmq/publish 8x256", rawRabbitPublishCase)},
		{what: "deed/rabbitmq-streams end to end, of amqp091 with streams", want: 0.6,
			got: ratio("deed/rabbitmq-streams 8x256", rawStreamsCase)},
		{what: "deed/rabbitmq-streams publishing, of amqp091 with streams", want: 0.6,
			got: ratio("deed/rabbitmq-streams/publish 8x256", rawStreamsPublishCase)},
		{what: "deed/kafka end to end, of franz-go", want: 0.6, got: ratio("deed/kafka 8x256", rawKafkaCase)},
		{what: "deed/kafka publishing, of franz-go", want: 0.6,
			got: ratio("deed/kafka/publish 8x256", rawKafkaPublishCase)},
		{what: "deed/redis end to end, of raw pipelined XADD", want: 0.8,
			got: ratio("deed/redis 8x256", "raw/redis"+rawRedisLoad)},
		{what: "deed/redis-packed end to end, of raw pipelined XADD", want: 1.7,
			got: ratio("deed/redis-packed 8x256", "raw/redis"+rawRedisLoad)},
		{what: "deed/redis end to end, of watermill on Redis Streams", want: 10,
			got: ratio("deed/redis 8x256", "watermill/redisstream 32x64")},
		{what: "deed/redis end to end, of asynq", want: 10, got: ratio("deed/redis 8x256", "asynq 32x64")},
		{what: "deed/redis at 33333/s, p50 in milliseconds", want: 1, most: true,
			got: func(r *result) (float64, bool) {
				v := r.median(fmt.Sprintf("deed/redis at %d/s", rateBusy), func(s sample) float64 { return s.P50.Seconds() * 1e3 })
				return v, v > 0
			}},
		{what: "deed/redis at 100/s, p50 over that of a bare XADD and XREAD", want: 1.3, most: true,
			got: func(r *result) (float64, bool) {
				p50 := func(s sample) float64 { return float64(s.P50) }
				v := r.median(fmt.Sprintf("deed/redis at %d/s", rateQuiet), p50)
				bare := r.median(fmt.Sprintf("bare/redis at %d/s", rateQuiet), p50)
				return v / max(bare, 1), v > 0 && bare > 0
			}},
	}
}

// ratio compares the throughput of two cases.
func ratio(of, to string) func(r *result) (float64, bool) {
	return func(r *result) (float64, bool) {
		a, b := r.median(of, perSecond), r.median(to, perSecond)
		return a / max(b, 1e-9), a > 0 && b > 0
	}
}

// targets writes which of them this run has met.
func (r *result) targets(b *strings.Builder) {
	head := "| target | wanted | measured | met |\n|---|--:|--:|---|\n"
	for _, t := range targetsOf() {
		got, ok := t.got(r)
		if !ok {
			continue
		}
		b.WriteString(head)
		head = ""
		bound, met := "≥", got >= t.want
		if t.most {
			bound, met = "≤", got <= t.want
		}
		says := "no"
		if met {
			says = "yes"
		}
		fmt.Fprintf(b, "| %s | %s %g | %.2f | %s |\n", t.what, bound, t.want, got, says)
	}
}
