package deedredis

import (
	"context"
	"crypto/sha1"
	_ "embed" // the scripts
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// script is a Lua program that runs on the server as one atomic step.
type script struct{ text, sha string }

// The parts that scripts share.
var (
	//go:embed lua/common.lua
	commonLua string
	//go:embed lua/append.lua
	appendLua string
	//go:embed lua/side.lua
	sideLua string
	//go:embed lua/streams.lua
	streamsLua string

	//go:embed lua/publish.lua
	publishLua string
	//go:embed lua/move.lua
	moveLua string
	//go:embed lua/topic.lua
	topicLua string
	//go:embed lua/partition.lua
	partitionLua string
	//go:embed lua/clear.lua
	clearLua string
	//go:embed lua/group.lua
	groupLua string
	//go:embed lua/start.lua
	startLua string
	//go:embed lua/acquire.lua
	acquireLua string
	//go:embed lua/free.lua
	freeLua string
	//go:embed lua/settle.lua
	settleLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/pause.lua
	pauseLua string
	//go:embed lua/ungroup.lua
	ungroupLua string
	//go:embed lua/leave.lua
	leaveLua string
	//go:embed lua/kept.lua
	keptLua string
	//go:embed lua/seats.lua
	seatsLua string
	//go:embed lua/sweep.lua
	sweepLua string
	//go:embed lua/lag.lua
	lagLua string
	//go:embed lua/park.lua
	parkLua string
	//go:embed lua/unpark.lua
	unparkLua string
	//go:embed lua/due.lua
	dueLua string
	//go:embed lua/chain.lua
	chainLua string
	//go:embed lua/parked.lua
	parkedLua string
	//go:embed lua/marks.lua
	marksLua string
	//go:embed lua/list.lua
	listLua string
	//go:embed lua/dead.lua
	deadLua string
	//go:embed lua/edit.lua
	editLua string
	//go:embed lua/forget.lua
	forgetLua string
	//go:embed lua/stream.lua
	streamLua string
	//go:embed lua/read.lua
	readLua string
	//go:embed lua/record.lua
	recordLua string
	//go:embed lua/records.lua
	recordsLua string
)

// What adds data is refused by a server without memory; what moves positions, gives up
// claims and removes is let through, for it is the way out.
var (
	publishScript   = newScript("", commonLua, appendLua, publishLua)
	moveScript      = newScript("allow-oom", commonLua, appendLua, moveLua)
	topicScript     = newScript("", topicLua)
	partitionScript = newScript("", commonLua, streamsLua, partitionLua)
	clearScript     = newScript("allow-oom", streamsLua, clearLua)
	groupScript     = newScript("", groupLua)
	startScript     = newScript("allow-oom", commonLua, startLua)
	acquireScript   = newScript("allow-oom", commonLua, acquireLua)
	freeScript      = newScript("allow-oom", freeLua)
	settleScript    = newScript("allow-oom", commonLua, settleLua)
	renewScript     = newScript("allow-oom", commonLua, renewLua)
	pauseScript     = newScript("allow-oom", pauseLua)
	ungroupScript   = newScript("allow-oom", ungroupLua)
	leaveScript     = newScript("allow-oom", commonLua, leaveLua)
	keptScript      = newScript("no-writes", commonLua, keptLua)
	seatsScript     = newScript("no-writes", commonLua, seatsLua)
	sweepScript     = newScript("allow-oom", commonLua, sweepLua)
	lagScript       = newScript("no-writes", commonLua, lagLua)
	parkScript      = newScript("", commonLua, sideLua, parkLua)
	unparkScript    = newScript("allow-oom", commonLua, sideLua, unparkLua)
	dueScript       = newScript("no-writes", commonLua, sideLua, dueLua)
	chainScript     = newScript("no-writes", commonLua, sideLua, chainLua)
	parkedScript    = newScript("no-writes", commonLua, sideLua, parkedLua)
	marksScript     = newScript("allow-oom", commonLua, sideLua, marksLua)
	listScript      = newScript("no-writes", commonLua, sideLua, listLua)
	deadScript      = newScript("allow-oom", commonLua, sideLua, deadLua)
	editScript      = newScript("", commonLua, sideLua, editLua)
	forgetScript    = newScript("allow-oom", forgetLua)
	streamScript    = newScript("", commonLua, appendLua, streamLua)
	readScript      = newScript("no-writes", readLua)
	recordScript    = newScript("", commonLua, recordLua)
	recordsScript   = newScript("no-writes", recordsLua)
)

func newScript(flags string, parts ...string) *script {
	text := "#!lua flags=" + flags + "\n" + strings.Join(parts, "\n")
	if flags == "" {
		text = "#!lua\n" + strings.Join(parts, "\n")
	}
	text = planted(text)
	sum := sha1.Sum([]byte(text))
	return &script{text: text, sha: hex.EncodeToString(sum[:])}
}

// call is a script with what it is run on.
type call struct {
	script *script
	keys   []string
	args   []string
}

// run runs one script.
func (c *Conn) run(ctx context.Context, s *script, keys []string, args ...string) (rueidis.RedisMessage, error) {
	r := c.runAll(ctx, []call{{s, keys, args}})[0]
	return r.ToMessage()
}

// runAll runs scripts in one pipeline, those of one key in order. A server that does
// not know a script has not run it, nor what followed it on the same key unless it
// knew that; so all that was not run is sent again, with the scripts' texts.
func (c *Conn) runAll(ctx context.Context, calls []call) []rueidis.RedisResult {
	return c.runThen(calls, func(cmds rueidis.Commands) []rueidis.RedisResult {
		return c.client.DoMulti(ctx, cmds...)
	})
}

// runThen is runAll with another way to send commands, which is used once or twice. A
// batch behind one that was not run met a gap in its producer's sequence, if the server
// knew the script again by then: it is sent again as well, in order.
func (c *Conn) runThen(
	calls []call, send func(rueidis.Commands) []rueidis.RedisResult,
) []rueidis.RedisResult {
	cmds := make(rueidis.Commands, len(calls))
	for i, x := range calls {
		cmds[i] = c.client.B().Evalsha().Sha1(x.script.sha).Numkeys(int64(len(x.keys))).Key(x.keys...).Arg(x.args...).Build()
	}
	results := send(cmds)
	missing := notRun(calls, results)
	if len(missing) == 0 {
		return results
	}
	cmds = make(rueidis.Commands, len(missing))
	for k, i := range missing {
		x := calls[i]
		cmds[k] = c.client.B().Eval().Script(x.script.text).Numkeys(int64(len(x.keys))).Key(x.keys...).Arg(x.args...).Build()
	}
	for k, r := range send(cmds) {
		results[missing[k]] = r
	}
	return results
}

// notRun returns the calls that the server did not know the script of, and those behind
// them on the same keys of which a batch met a gap for that. To call these again is safe,
// since what has a sequence is stored once.
func notRun(calls []call, results []rueidis.RedisResult) (missing []int) {
	unknown := make(map[string]rueidis.RedisResult) // by key
	for i, r := range results {
		first, behind := r, isNoScript(r.Error())
		for _, key := range calls[i].keys {
			if before, ok := unknown[key]; ok && !behind && hasGap(r) {
				first, behind = before, true
			}
		}
		if !behind {
			continue
		}
		results[i] = first // in case it cannot be run at all
		for _, key := range calls[i].keys {
			unknown[key] = first
		}
		missing = append(missing, i)
	}
	return missing
}

// hasGap reports whether publish.lua refused a batch because one before it is missing.
func hasGap(r rueidis.RedisResult) bool {
	answers, _ := r.ToArray()
	for i := range answers {
		if answer, err := answers[i].ToArray(); err == nil && len(answer) > 0 {
			if word, _ := answer[0].ToString(); word == "gap" {
				return true
			}
		}
	}
	return false
}

// texts reads an answer of texts and numbers as texts.
func texts(r interface {
	ToArray() ([]rueidis.RedisMessage, error)
}) ([]string, error) {
	list, err := r.ToArray()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(list))
	for i := range list {
		if n, err := list[i].ToInt64(); err == nil {
			out[i] = strconv.FormatInt(n, 10)
		} else if out[i], err = list[i].ToString(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
