package drivertest_test

import (
	"context"

	"github.com/deedgo/deed/driver"
)

func (l *liar) AppendStream(ctx context.Context, b driver.StreamBatch) (string, error) {
	if l.appendStream != nil {
		return l.appendStream(ctx, b)
	}
	return l.Conn.AppendStream(ctx, b)
}

func (l *liar) ReadStream(ctx context.Context, p driver.StreamPage) ([]driver.Delivery, error) {
	if l.readStream != nil {
		l.readStream(&p)
	}
	return l.Conn.ReadStream(ctx, p)
}

func (l *liar) Record(ctx context.Context, name string) (driver.Record, error) {
	r, err := l.Conn.Record(ctx, name)
	if l.record != nil {
		l.record(&r)
	}
	return r, err
}

func (l *liar) Records(ctx context.Context, prefix, after string, limit int) ([]driver.Record, error) {
	if l.records != nil {
		l.records(&prefix, &after)
	}
	return l.Conn.Records(ctx, prefix, after, limit)
}

func (l *liar) PutRecord(ctx context.Context, r driver.Record) (int64, error) {
	if l.putRecord != nil {
		return l.putRecord(ctx, r)
	}
	return l.Conn.PutRecord(ctx, r)
}

func (l *liar) DeleteRecord(ctx context.Context, name string, version int64) error {
	if l.deleteRecord != nil {
		return l.deleteRecord(ctx, name, version)
	}
	return l.Conn.DeleteRecord(ctx, name, version)
}
