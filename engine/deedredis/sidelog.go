package deedredis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// failure is what a side log keeps about an event beside the event, as JSON.
type failure struct {
	Attempts int       `json:"attempts,omitempty"`
	Crashes  int       `json:"crashes,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Error    string    `json:"error,omitempty"`
	Stack    string    `json:"stack,omitempty"`
	Failed   time.Time `json:"failed,omitzero"`
	Replay   bool      `json:"replay,omitempty"`
	// Unreadable is the delivery's: why the entry is no event.
	Unreadable string `json:"unreadable,omitempty"`
}

// side runs a script of the side log under a claim.
func (c *Conn) side(
	ctx context.Context, what string, s *script, cl driver.Claim, args ...string,
) ([]rueidis.RedisMessage, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	keys := []string{c.keys.claim(cl.Topic, cl.Partition, cl.Group)}
	if s == parkScript {
		keys = append(keys, c.keys.partition(cl.Topic, cl.Partition)[1])
	}
	m, err := c.run(ctx, s, keys, append([]string{c.under(keys[0], cl.Epoch)}, args...)...)
	if err != nil {
		return nil, c.fail(what, err)
	}
	if m.IsString() { // 'ok' or 'fenced' alone
		word, _ := m.ToString()
		if word != "ok" {
			err = driver.ErrFenced
		}
		c.wrote(s, keys[0], cl.Epoch, err)
		return nil, c.failClaim(what, cl, err)
	}
	answer, err := m.ToArray()
	if err != nil {
		return nil, c.fail(what, err)
	}
	if word, _ := answer[0].ToString(); word != "ok" {
		return nil, c.failClaim(what, cl, driver.ErrFenced)
	}
	c.wrote(s, keys[0], cl.Epoch, nil)
	return answer[1:], nil
}

func (c *Conn) failClaim(what string, cl driver.Claim, err error) error {
	if err == nil {
		return nil
	}
	return c.fail(what, fmt.Errorf("group %s on topic %s partition %d: epoch %d: %w",
		cl.Group, cl.Topic, cl.Partition, cl.Epoch, err))
}

// Park implements [driver.SideLog].
func (c *Conn) Park(ctx context.Context, cl driver.Claim, ps []driver.Parked) error {
	args := make([]string, 0, 8*len(ps))
	for i := range ps {
		p := &ps[i]
		at, err := parsePosition(p.Position)
		if err == nil && at == (position{}) {
			err = fmt.Errorf("%w: event %s has no position", driver.ErrRefused, p.Message.ID)
		}
		if err != nil {
			return c.fail("park", err)
		}
		about, err := json.Marshal(failure{
			p.Attempts, p.Crashes, p.Reason, p.Error, p.Stack, p.Failed, p.Replay, p.Unreadable,
		})
		if err != nil {
			return c.fail("park", err)
		}
		args = append(args, spot(p.Run, at), string(p.State), flag(p.Aside), chainOf(p.Key),
			strconv.FormatInt(p.After.Milliseconds(), 10), string(driverkit.AppendAttributes(nil, &p.Message)),
			string(p.Data), string(about))
	}
	_, err := c.side(ctx, "park", parkScript, cl, args...)
	return err
}

// Unpark implements [driver.SideLog].
func (c *Conn) Unpark(ctx context.Context, cl driver.Claim, positions []string) (empty []string, err error) {
	args := []string{strconv.Itoa(cl.Run)}
	for _, text := range positions {
		at, err := parsePosition(text)
		if err != nil {
			return nil, c.fail("unpark", err)
		}
		args = append(args, at.sortable())
	}
	answer, err := c.side(ctx, "unpark", unparkScript, cl, args...)
	return keysOf(answer), err
}

func keysOf(chains []rueidis.RedisMessage) []string {
	var keys []string
	for i := range chains {
		chain, _ := chains[i].ToString()
		keys = append(keys, keyOf(chain))
	}
	return keys
}

// Due implements [driver.SideLog].
func (c *Conn) Due(ctx context.Context, cl driver.Claim, limit int) ([]driver.Letter, error) {
	answer, err := c.side(ctx, "due", dueScript, cl, strconv.Itoa(limit))
	if err != nil {
		return nil, err
	}
	return c.letters(ctx, cl, answer)
}

// Chain implements [driver.SideLog].
func (c *Conn) Chain(ctx context.Context, cl driver.Claim, key string, limit int) ([]driver.Letter, error) {
	answer, err := c.side(ctx, "chain", chainScript, cl, chainOf(key), strconv.Itoa(limit))
	if err != nil {
		return nil, err
	}
	return c.letters(ctx, cl, answer)
}

// ParkedKeys implements [driver.SideLog].
func (c *Conn) ParkedKeys(ctx context.Context, cl driver.Claim, limit int) ([]string, error) {
	answer, err := c.side(ctx, "parked keys", parkedScript, cl, strconv.Itoa(limit))
	return keysOf(answer), err
}

// SetMarks implements [driver.SideLog].
func (c *Conn) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	args := make([]string, 0, 2*len(ms))
	for _, m := range ms {
		if _, err := parsePosition(m.Position); err != nil {
			return c.fail("set marks", err)
		}
		value := ""
		if m.Attempts != 0 || m.Crashes != 0 {
			value = strconv.Itoa(m.Attempts) + " " + strconv.Itoa(m.Crashes)
		}
		args = append(args, m.Position, value)
	}
	_, err := c.side(ctx, "set marks", marksScript, cl, args...)
	return err
}

// Marks implements [driver.SideLog].
func (c *Conn) Marks(ctx context.Context, cl driver.Claim) ([]driver.Mark, error) {
	answer, err := c.side(ctx, "marks", marksScript, cl)
	if err != nil {
		return nil, err
	}
	var ms []driver.Mark
	for i := 0; i+1 < len(answer); i += 2 {
		at, _ := answer[i].ToString()
		value, _ := answer[i+1].ToString()
		m := driver.Mark{Position: at}
		if _, err := fmt.Sscan(value, &m.Attempts, &m.Crashes); err != nil {
			return nil, c.fail("marks", fmt.Errorf("the mark at %s is %q: %w", at, value, err))
		}
		ms = append(ms, m)
	}
	sortByPosition(ms)
	return ms, nil
}

// letters reads the records of an answer.
func (c *Conn) letters(ctx context.Context, cl driver.Claim, answer []rueidis.RedisMessage) ([]driver.Letter, error) {
	t, err := c.known(ctx, cl.Topic)
	if err != nil {
		return nil, c.fail("read the side log", err)
	}
	ls := make([]driver.Letter, len(answer))
	for i := range answer {
		if ls[i], err = parseLetter(&answer[i], t, cl.Group, cl.Partition); err != nil {
			return nil, c.fail("read the side log", err)
		}
	}
	return ls, nil
}

// parseLetter reads what side.lua calls a letter.
func parseLetter(m *rueidis.RedisMessage, t *topic, group string, partition int) (l driver.Letter, err error) {
	f, err := m.AsStrSlice() // spot, state, attributes, data, edits, failure, due
	if err != nil || len(f) < 7 {
		return l, errors.Join(err, fmt.Errorf("a record of %d fields", len(f)))
	}
	run, at, err := parseSpot(f[0])
	if err != nil {
		return l, err
	}
	state := strings.SplitN(f[1], "|", 5)
	if len(state) < 5 {
		return l, fmt.Errorf("a record's state is %q", f[1])
	}
	var about failure
	if err := json.Unmarshal([]byte(f[5]), &about); err != nil {
		return l, err
	}
	l = driver.Letter{
		Group: group, Topic: t.info.Name, Run: run, State: driver.LetterState(state[0]), Aside: state[1] == "1",
		Attempts: about.Attempts, Crashes: about.Crashes, Reason: about.Reason, Error: about.Error, Stack: about.Stack,
		Failed: about.Failed,
	}
	if err := driverkit.ParseAttributes(f[2], &l.Message); err != nil {
		return l, err
	}
	l.Data = []byte(f[3])
	l.Partition, l.Position, l.Stored = partition, at.String(), at.stored()
	l.Replay, l.Unreadable = about.Replay, about.Unreadable
	number, err := strconv.ParseInt(state[3], 10, 64)
	if err != nil {
		return l, err
	}
	l.ID = letterID(number, t.number, partition)
	if f[6] != "" {
		millis, err := strconv.ParseFloat(f[6], 64)
		if err != nil {
			return l, err
		}
		l.Due = time.UnixMilli(int64(millis)).UTC()
	}
	if f[4] != "" {
		err = json.Unmarshal([]byte(f[4]), &l.Edits)
	}
	return l, err
}
