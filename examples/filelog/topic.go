package filelog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// topic is described by NAME.json, and its events are in NAME.GENERATION.PARTITION.log. It is
// there as long as its description is.
type topic struct {
	dir, name string
	kept      kept
	parts     []*partition
	gone      bool // deleted
}

// kept is the description: what the topic is, and how its groups stand.
type kept struct {
	Settings   driver.TopicSettings
	Generation int
	Created    time.Time
	Groups     map[string]group
}

// load opens the topics of the directory.
func (l *Log) load() error {
	files, err := os.ReadDir(l.dir)
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		t := &topic{dir: l.dir, name: name}
		text, fileErr := os.ReadFile(filepath.Join(l.dir, f.Name()))
		if fileErr == nil {
			fileErr = json.Unmarshal(text, &t.kept)
		}
		err = errors.Join(err, fileErr, t.open())
		l.topics[name] = t
	}
	return err
}

func (t *topic) log(i int) string {
	return filepath.Join(t.dir, fmt.Sprintf("%s.%d.%d.log", t.name, t.kept.Generation, i))
}

func (t *topic) open() error {
	for i := range t.kept.Settings.Partitions {
		p, err := openPartition(t.log(i), i)
		if err != nil {
			return err
		}
		t.parts = append(t.parts, p)
	}
	return nil
}

func (t *topic) close() {
	for _, p := range t.parts {
		_ = p.file.Close() // all that counts was synced
	}
}

// [change]

// change stores the next description, and makes it the present one when the disk has it. It
// replaces the file, so that a crash leaves the old one or the new one.
func (t *topic) change(next kept) error {
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	path := filepath.Join(t.dir, t.name+".json")
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(path+".new", path), syncDir(t.dir))
	}
	if err == nil {
		t.kept = next
	}
	return err
}

// [change]

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (l *Log) topic(name string) (*topic, error) {
	if t := l.topics[name]; t != nil {
		return t, nil
	}
	return nil, driver.ErrNotFound
}

func (t *topic) info() driver.TopicInfo {
	info := driver.TopicInfo{
		Name: t.name, TopicSettings: t.kept.Settings, Created: t.kept.Created,
		Generation: t.kept.Generation, Incarnation: strconv.Itoa(t.kept.Generation),
	}
	for _, p := range t.parts {
		info.Events += p.last
		info.Bytes += p.offset
	}
	return info
}

// CreateTopic implements [driver.Topics].
func (c *Conn) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	return do(ctx, c, "create topic "+name, func(l *Log) (driver.TopicInfo, error) {
		if t := l.topics[name]; t != nil {
			return t.info(), nil
		}
		s, err := s.Complete(c.Features())
		if err != nil {
			return driver.TopicInfo{}, err
		}
		t := &topic{dir: l.dir, name: name}
		t.kept = kept{Settings: s, Generation: int(l.next()), Created: time.Now()}
		if err := errors.Join(t.open(), t.change(t.kept)); err != nil {
			t.close()
			return driver.TopicInfo{}, err
		}
		l.topics[name] = t
		return t.info(), nil
	})
}

// Topic implements [driver.Topics].
func (c *Conn) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	return do(ctx, c, "topic "+name, func(l *Log) (driver.TopicInfo, error) {
		t, err := l.topic(name)
		if err != nil {
			return driver.TopicInfo{}, err
		}
		return t.info(), nil
	})
}

// Topics implements [driver.Topics].
func (c *Conn) Topics(ctx context.Context) ([]driver.TopicInfo, error) {
	return do(ctx, c, "topics", func(l *Log) (all []driver.TopicInfo, _ error) {
		for _, name := range slices.Sorted(maps.Keys(l.topics)) {
			all = append(all, l.topics[name].info())
		}
		return all, nil
	})
}

// SetTopic implements [driver.Topics].
func (c *Conn) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	_, err := do(ctx, c, "set topic "+name, func(l *Log) (none struct{}, err error) {
		t, err := l.topic(name)
		if err != nil {
			return none, err
		}
		next := t.kept
		if next.Settings, err = s.Complete(c.Features()); err != nil {
			return none, err
		}
		if err := t.kept.Settings.Alter(next.Settings); err != nil {
			return none, err
		}
		return none, t.change(next)
	})
	return err
}

// DeleteTopic implements [driver.Topics].
func (c *Conn) DeleteTopic(ctx context.Context, name string) error {
	_, err := do(ctx, c, "delete topic "+name, func(l *Log) (none struct{}, err error) {
		t, err := l.topic(name)
		if err != nil {
			return none, err
		}
		if err := errors.Join(os.Remove(filepath.Join(t.dir, name+".json")), syncDir(t.dir)); err != nil {
			return none, err
		}
		t.gone = true
		delete(l.topics, name)
		l.moved()
		t.close()
		for i := range t.parts {
			err = errors.Join(err, os.Remove(t.log(i)))
		}
		return none, err
	})
	return err
}
