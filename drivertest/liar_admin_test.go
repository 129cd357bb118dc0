package drivertest_test

import (
	"context"
	"time"

	"github.com/deedgo/deed/driver"
)

func (l *liar) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	if l.create != nil {
		l.create(&s)
	}
	info, err := l.Conn.CreateTopic(ctx, name, s)
	if err == nil && l.info != nil {
		l.info(&info)
	}
	return info, err
}

func (l *liar) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	info, err := l.Conn.Topic(ctx, name)
	if err == nil && l.info != nil {
		l.info(&info)
	}
	return info, err
}

func (l *liar) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	if l.set != nil {
		l.set(&s)
	}
	return l.Conn.SetTopic(ctx, name, s)
}

func (l *liar) DeleteTopic(ctx context.Context, name string) error {
	if l.deleteTopic != nil && !l.deleteTopic() {
		return nil
	}
	return l.Conn.DeleteTopic(ctx, name)
}

func (l *liar) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	infos, err := l.Conn.Groups(ctx)
	if l.groups != nil {
		l.groups(infos)
	}
	return infos, err
}

func (l *liar) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	if l.reset != nil {
		return l.reset(ctx, group, topic, r)
	}
	return l.Conn.ResetGroup(ctx, group, topic, r)
}

func (l *liar) Edit(ctx context.Context, id int64, e driver.Edit) error {
	if l.edit != nil {
		return l.edit(ctx, id, e)
	}
	return l.Conn.Edit(ctx, id, e)
}

func (l *liar) Sweep(ctx context.Context, topic string) (int64, error) {
	if l.sweep != nil {
		return l.sweep(ctx, topic)
	}
	return l.Conn.Sweep(ctx, topic)
}

func (l *liar) Park(ctx context.Context, c driver.Claim, ps []driver.Parked) error {
	if l.park != nil {
		c = l.park(c, ps)
	}
	return l.Conn.Park(ctx, c, ps)
}

func (l *liar) Unpark(ctx context.Context, c driver.Claim, positions []string) ([]string, error) {
	if l.unpark != nil {
		l.unpark(&c)
	}
	empty, err := l.Conn.Unpark(ctx, c, positions)
	if l.empty != nil {
		empty = l.empty(empty)
	}
	return empty, err
}

func (l *liar) Due(ctx context.Context, c driver.Claim, limit int) ([]driver.Letter, error) {
	ls, err := l.Conn.Due(ctx, c, limit)
	if err == nil && l.due != nil {
		ls = l.due(c, ls)
	}
	return ls, err
}

func (l *liar) SetMarks(ctx context.Context, c driver.Claim, ms []driver.Mark) error {
	if l.setMarks != nil {
		ms = l.setMarks(ms)
	}
	return l.Conn.SetMarks(ctx, c, ms)
}

func (l *liar) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	ls, err := l.Conn.List(ctx, f)
	if l.letters != nil {
		ls = l.letters(ls)
	}
	return ls, err
}

func (l *liar) Redrive(ctx context.Context, ids []int64) (int, error) {
	if l.redrive != nil {
		ids = l.redrive(ids)
	}
	return l.Conn.Redrive(ctx, ids)
}

func (l *liar) Discard(ctx context.Context, ids []int64) (int, error) {
	if l.discard != nil {
		ids = l.discard(ids)
	}
	return l.Conn.Discard(ctx, ids)
}

func (l *liar) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	if l.lagOf != nil {
		l.lagOf(&group, &topic)
	}
	lags, err := l.Conn.Lag(ctx, group, topic)
	if l.lag != nil {
		l.lag(lags)
	}
	return lags, err
}

func (l *liar) DeleteGroup(ctx context.Context, group, topic string) error {
	err := l.Conn.DeleteGroup(ctx, group, topic)
	if l.deleteGroup != nil {
		err = l.deleteGroup(err)
	}
	return err
}

func (l *liar) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	if l.pause != nil {
		paused = l.pause(paused)
	}
	return l.Conn.PauseGroup(ctx, group, topic, paused)
}

func (l *liar) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	if l.page != nil {
		l.page(&p)
	}
	ds, err := l.Conn.Browse(ctx, p)
	if l.browsed != nil {
		l.browsed(ds)
	}
	return ds, err
}

func (l *liar) Ends(ctx context.Context, topic string) ([]string, error) {
	ends, err := l.Conn.Ends(ctx, topic)
	if l.ends != nil {
		l.ends(ends)
	}
	return ends, err
}

func (l *liar) Seek(ctx context.Context, topic string, partition int, t time.Time) (string, error) {
	if l.seek != nil {
		l.seek(&t)
	}
	return l.Conn.Seek(ctx, topic, partition, t)
}

func (l *liar) Compare(a, b string) (int, error) {
	if l.compare != nil {
		return l.compare(a, b)
	}
	return l.Conn.Compare(a, b)
}
