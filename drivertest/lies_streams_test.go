package drivertest_test

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

var streamLies = []lie{
	{"reads a stream from the beginning", "stream-reads-back", func(l *liar, _ *counter) {
		l.readStream = func(p *driver.StreamPage) { p.After = 0 }
	}},
	{"ignores the expected version", "stream-conflict stream-concurrent stream-repeat stream-stays",
		func(l *liar, _ *counter) {
			l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
				for {
					last, err := l.Conn.AppendStream(ctx, b)
					var conflict *driver.ConflictError
					if !errors.As(err, &conflict) {
						return last, err
					}
					b.Version = conflict.Version
				}
			}
		}},
	{"does not say what version there is", "stream-conflict stream-concurrent", func(l *liar, _ *counter) {
		l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
			last, err := l.Conn.AppendStream(ctx, b)
			if errors.Is(err, driver.ErrConflict) {
				err = &driver.ConflictError{Version: b.Version}
			}
			return last, err
		}
	}},
	{"appends event by event", "stream-append-is-one-step", func(l *liar, _ *counter) {
		l.appendStream = func(ctx context.Context, b driver.StreamBatch) (last string, err error) {
			for i, all := 0, b.Messages; i < len(all) && err == nil; i++ {
				b.Messages = all[i : i+1]
				last, err = l.Conn.AppendStream(ctx, b)
				b.Version++
				<-time.After(time.Millisecond)
			}
			return last, err
		}
	}},
	{"leaves out what it cannot append", "stream-append-refused", func(l *liar, _ *counter) {
		l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
			var kept []driver.Message
			for _, m := range b.Messages {
				if m.Key == b.Key && m.NotBefore.IsZero() {
					kept = append(kept, m)
				}
			}
			b.Messages = kept
			return l.Conn.AppendStream(ctx, b)
		}
	}},
	{"takes a repeated append for another's", "stream-repeat", func(l *liar, _ *counter) {
		l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
			there, err := l.Conn.ReadStream(ctx, driver.StreamPage{Topic: b.Topic, Key: b.Key, Limit: 1 << 20})
			if err == nil && int64(len(there)) > b.Version {
				return "", &driver.ConflictError{Version: int64(len(there))}
			}
			return l.Conn.AppendStream(ctx, b)
		}
	}},
	{"takes any late append for a repeated one", "stream-conflict stream-concurrent stream-repeat",
		func(l *liar, _ *counter) {
			l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
				last, err := l.Conn.AppendStream(ctx, b)
				return last, forgive(driver.ErrConflict)(err)
			}
		}},
	{"does not know where it appended", "stream-in-its-topic", func(l *liar, n *counter) {
		l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
			last, err := l.Conn.AppendStream(ctx, b)
			if n.next()%2 == 0 {
				last += "0"
			}
			return last, err
		}
	}},
	{"has one stream for all that look alike", "stream-of-any-key", func(l *liar, _ *counter) {
		l.appendStream = func(ctx context.Context, b driver.StreamBatch) (string, error) {
			b.Key = strings.TrimSpace(b.Key)
			for i := range b.Messages {
				b.Messages[i].Key = b.Key
			}
			return l.Conn.AppendStream(ctx, b)
		}
	}},
	{"makes any topic one of streams", "stream-topics-are-a-kind", func(l *liar, _ *counter) {
		l.create = func(s *driver.TopicSettings) {
			if s.Keep+s.Hold+s.Dedupe == 0 && s.PartitionBy == "" {
				s.Streams = true
			}
		}
	}},
	{"sweeps streams", "stream-stays", func(l *liar, _ *counter) {
		l.sweep = func(context.Context, string) (int64, error) { return 1, nil }
	}},
	{"keeps streams of a former life", "stream-stays", func(l *liar, _ *counter) {
		l.deleteTopic = func() bool { return false }
	}},
}

var recordLies = []lie{
	{"ends records at a colon", "record-put-and-read", func(l *liar, _ *counter) {
		l.record = func(r *driver.Record) {
			data, _, _ := strings.Cut(string(r.Data), ":")
			r.Data = []byte(data)
		}
	}},
	{"puts over whatever is there", "record-conflict record-concurrent record-versions-never-repeat",
		func(l *liar, _ *counter) {
			l.record = func(*driver.Record) { <-time.After(time.Millisecond) } // time for others
			l.putRecord = func(ctx context.Context, r driver.Record) (int64, error) {
				for {
					v, err := l.Conn.PutRecord(ctx, r)
					var conflict *driver.ConflictError
					if !errors.As(err, &conflict) {
						return v, err
					}
					r.Version = conflict.Version
				}
			}
		}},
	{"counts each life from 1", "record-versions-never-repeat", func(l *liar, n *counter) {
		l.putRecord = func(ctx context.Context, r driver.Record) (int64, error) {
			v, err := l.Conn.PutRecord(ctx, r)
			if r.Version == 0 && err == nil {
				n.note("offset "+r.Name, "1")
				return 1, nil
			}
			return v, err
		}
		l.deleteRecord = func(ctx context.Context, name string, version int64) error {
			if n.noteOf("offset "+name) != "" {
				r, err := l.Conn.Record(ctx, name)
				if err != nil {
					return err
				}
				version = r.Version
			}
			return l.Conn.DeleteRecord(ctx, name, version)
		}
	}},
	{"lists names that come before", "records-listed", func(l *liar, _ *counter) {
		l.records = func(_, after *string) { *after = "" }
	}},
	{"takes any name", "record-refused", func(l *liar, _ *counter) {
		l.putRecord = func(ctx context.Context, r driver.Record) (int64, error) {
			v, err := l.Conn.PutRecord(ctx, r)
			return v, forgive(driver.ErrRefused)(err)
		}
	}},
}
