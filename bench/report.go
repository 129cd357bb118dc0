package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// markdown renders the medians of all rounds.
func (r *result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s, %d cores · %s · %s\n", r.Date.UTC().Format("2006-01-02 15:04 MST"), r.Machine.CPU,
		r.Machine.Cores, r.Machine.System, r.Machine.Go)
	var versions []string
	for path, version := range r.Machine.Versions {
		versions = append(versions, path+" "+version)
	}
	slices.Sort(versions)
	fmt.Fprintf(&b, "%s\n", strings.Join(versions, " · "))
	fmt.Fprintf(&b, "%d rounds in %v; load average before each: %s\n", len(r.Disk), r.Took.Round(time.Second),
		strings.Join(r.Load, " | "))
	fmt.Fprintf(&b, "write + fdatasync of 4 KiB, p50: in place %v, at the end of a growing file %v\n\n",
		short(r.inPlace()), short(medianOf(r.Disk, func(d diskSample) time.Duration { return d.Growing })))
	if r.Quick {
		b.WriteString("Quick run: it shows that everything works, the numbers say nothing.\n\n")
	}
	if r.Interrupted {
		b.WriteString("The run was interrupted: its last round is not complete.\n\n")
	}
	r.closedTable(&b)
	r.openTable(&b)
	r.targets(&b)
	for _, c := range r.Cases {
		for _, why := range c.Failed {
			fmt.Fprintf(&b, "\nFAILED %s: %s\n", c.Name, why)
		}
	}
	return b.String()
}

func (r *result) inPlace() time.Duration {
	return medianOf(r.Disk, func(d diskSample) time.Duration { return d.InPlace })
}

// closedTable is about throughput.
func (r *result) closedTable(b *strings.Builder) {
	rows := 0
	for _, c := range r.Cases {
		if c.Request.Rate > 0 || len(c.Samples) == 0 {
			continue
		}
		if rows++; rows == 1 {
			b.WriteString("| publishers x batch | keeps | events/s (min to max) | of raw | CPU µs/event | " +
				"server's | allocs | bytes | peak MB |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
		}
		per := c.all(perSecond)
		ratio := ""
		if raw := r.median(rawOf(c.Request.System), perSecond); raw > 0 {
			ratio = fmt.Sprintf("%.2f", middle(per)/raw)
		}
		fmt.Fprintf(b, "| %s | %s | %s (%s to %s) | %s | %.2f | %s | %.1f | %.0f | %.0f |\n",
			c.Name, systemNamed(c.Request.System).durability, count(middle(per)), count(slices.Min(per)),
			count(slices.Max(per)), ratio, middle(c.all(cpuPerEvent)), c.serverCPU(),
			middle(c.all(func(s sample) float64 { return s.Allocs })),
			middle(c.all(func(s sample) float64 { return s.Bytes })),
			middle(c.all(func(s sample) float64 { return s.PeakMB })))
	}
	if rows > 0 {
		b.WriteString("\n")
	}
}

// openTable is about latency.
func (r *result) openTable(b *strings.Builder) {
	rows := 0
	for _, c := range r.Cases {
		if c.Request.Rate == 0 || len(c.Samples) == 0 {
			continue
		}
		if rows++; rows == 1 {
			b.WriteString("| at a rate | keeps | p50 | p99 | p999 | handled in time | generator late p99 | " +
				"CPU µs/event | server's |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
		}
		inTime := slices.Min(c.all(func(s sample) float64 { return s.InTime }))
		d := func(of func(sample) time.Duration) string {
			if inTime < 100 {
				return "fell behind"
			}
			return short(medianOf(c.Samples, of))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.0f %% | %s | %.1f | %s |\n",
			c.Name, systemNamed(c.Request.System).durability,
			d(p50), d(func(s sample) time.Duration { return s.P99 }), d(func(s sample) time.Duration { return s.P999 }),
			inTime, short(medianOf(c.Samples, func(s sample) time.Duration { return s.Late })), middle(c.all(cpuPerEvent)),
			c.serverCPU())
	}
	if rows > 0 {
		b.WriteString("\n")
	}
}

// rawOf names the case of the raw client that does what a system does.
func rawOf(system string) string {
	switch {
	case strings.Contains(system, "postgres") || system == "watermill/sql" || system == "river":
		return rawPostgresCase
	case strings.Contains(system, "mysql"):
		return rawMySQLCase
	case strings.HasSuffix(system, "mqtt3/publish"):
		return rawMQTT3PublishCase
	case strings.Contains(system, "mqtt3"):
		return rawMQTT3Case
	case strings.HasSuffix(system, "mqtt/publish"):
		return rawMQTTPublishCase
	case strings.Contains(system, "mqtt"):
		return rawMQTTCase
	case strings.HasSuffix(system, "rabbitmq-streams/publish"):
		return rawStreamsPublishCase
	case strings.HasSuffix(system, "rabbitmq-streams"):
		return rawStreamsCase
	case strings.HasSuffix(system, "rabbitmq/publish"):
		return rawRabbitPublishCase
	case strings.Contains(system, "rabbitmq"):
		return rawRabbitCase
	case strings.HasSuffix(system, "kafka/publish"):
		return rawKafkaPublishCase
	case strings.Contains(system, "kafka"):
		return rawKafkaCase
	case strings.HasSuffix(system, "nats/publish"):
		return rawNATSPublishCase
	case strings.HasSuffix(system, "nats") || system == "nats/tcp":
		return rawNATSCase
	}
	if !strings.Contains(system, "redis") && system != "asynq" {
		return rawCase
	}
	for _, m := range redisModes {
		if m.name != "" && strings.HasSuffix(system, m.name) {
			return "raw/redis" + m.name + rawRedisLoad
		}
	}
	return "raw/redis" + rawRedisLoad
}

// serverCPU is the processor time of a server beside the process, "" without one.
func (c *benchCase) serverCPU() string {
	if used := middle(c.all(func(s sample) float64 { return s.ServerCPU })); used > 0 {
		return fmt.Sprintf("%.2f", used)
	}
	return ""
}

func perSecond(s sample) float64   { return s.PerSecond }
func cpuPerEvent(s sample) float64 { return s.CPU }
func p50(s sample) time.Duration   { return s.P50 }

// short writes a time with three digits or four.
func short(d time.Duration) string {
	for unit := time.Microsecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}

// count writes a number so that one can read it.
func count(n float64) string {
	if n >= 10_000 {
		return fmt.Sprintf("%.0fk", n/1000)
	}
	return fmt.Sprintf("%.0f", n)
}

func (c *benchCase) all(of func(sample) float64) []float64 {
	values := make([]float64, len(c.Samples))
	for i, s := range c.Samples {
		values[i] = of(s)
	}
	return values
}

// median of a case by name, 0 when it was not measured.
func (r *result) median(name string, of func(sample) float64) float64 {
	for _, c := range r.Cases {
		if c.Name == name && len(c.Samples) > 0 {
			return middle(c.all(of))
		}
	}
	return 0
}

func middle(values []float64) float64 {
	return medianOf(values, func(v float64) float64 { return v })
}

// medianOf is the value in the middle, the mean of two when there are two.
func medianOf[T any, V float64 | time.Duration](items []T, of func(T) V) V {
	values := make([]V, len(items))
	for i := range items {
		values[i] = of(items[i])
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
