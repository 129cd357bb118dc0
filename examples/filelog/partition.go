package filelog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// maxData bounds the data of an event, since a batch is written and read in one piece.
const maxData = 16 << 20

// partition is a file with a line for each batch.
type partition struct {
	number int
	file   *os.File
	place        // the end
	broken error // what the disk has is not known until the file is opened anew
}

// line is one batch, which is stored as a whole or not at all.
type line struct {
	First    int64 // position of its first event
	Stored   time.Time
	Messages []driver.Message
}

// place is between two lines.
type place struct {
	offset int64
	last   int64 // position before it
}

// open opens the file. A last line that is not whole is cut off: nobody was told that it is
// stored.
func openPartition(path string, number int) (*partition, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	p := &partition{number: number, file: file}
	p.place, err = p.scan(place{}, func(driver.Delivery) bool { return true })
	if err = errors.Join(err, file.Truncate(p.offset), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return p, nil
}

// [append]

// append stores a batch, and returns when the disk has it. What is not written whole is cut
// off again. After a sync that failed nobody knows what the disk has, and a second one would
// say that all is well, whatever it has: so the partition takes nothing more.
func (p *partition) append(messages []driver.Message) error {
	if p.broken != nil {
		return fmt.Errorf("%w: %w", driver.ErrNotStored, p.broken)
	}
	text, err := json.Marshal(line{p.last + 1, time.Now(), messages})
	if err != nil {
		return fmt.Errorf("%w: %w", driver.ErrRefused, err)
	}
	text = append(text, '\n')
	if _, err := p.file.WriteAt(text, p.offset); err != nil {
		p.broken = p.file.Truncate(p.offset)
		return fmt.Errorf("%w: %w", driver.ErrNotStored, err)
	}
	if err := p.file.Sync(); err != nil {
		p.broken = fmt.Errorf("a sync failed before (restart): %w", err)
		return err // the outcome is unknown
	}
	p.offset += int64(len(text))
	p.last += int64(len(messages))
	return nil
}

// [append]

// [scan]

// scan calls each with the events behind a place, until it returns false, and returns the
// place before the line where that was, or the end.
func (p *partition) scan(from place, each func(driver.Delivery) bool) (place, error) {
	r := bufio.NewReader(io.NewSectionReader(p.file, from.offset, 1<<62))
	for {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return from, nil
		}
		var batch line
		if err == nil {
			err = json.Unmarshal(text, &batch)
		}
		if err == nil && batch.First != from.last+1 {
			err = fmt.Errorf("position %d follows %d", batch.First, from.last)
		}
		if err != nil {
			return from, fmt.Errorf("%w: damaged at byte %d: %w", driver.ErrLost, from.offset, err)
		}
		for i, m := range batch.Messages {
			position := driverkit.Position(batch.First + int64(i))
			if !each(driver.Delivery{Message: m, Partition: p.number, Position: position, Stored: batch.Stored}) {
				return from, nil
			}
		}
		from.offset += int64(len(text))
		from.last += int64(len(batch.Messages))
	}
}

// [scan]

// seek returns the position before the first event stored at or after a time.
func (p *partition) seek(at time.Time) (before int64, err error) {
	_, err = p.scan(place{}, func(d driver.Delivery) bool {
		earlier := d.Stored.Before(at)
		if earlier {
			before++
		}
		return earlier
	})
	return before, err
}
