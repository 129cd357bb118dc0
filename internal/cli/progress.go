package cli

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// counted shows how far work on a known number of things is: a bar on a terminal,
// now and then a line elsewhere. It is for one goroutine.
type counted struct {
	app   *app
	said  time.Time
	total int64

	bar      *mpb.Bar
	progress *mpb.Progress
}

func (a *app) count(what string, total int64) *counted {
	c := &counted{app: a, said: time.Now(), total: total}
	if total > 0 && isTerminal(a.stderr) {
		c.progress = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(48))
		c.bar = c.progress.AddBar(total,
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(what+" "), decor.Percentage()),
			mpb.AppendDecorators(decor.CountersNoUnit("%d / %d")))
	}
	return c
}

// set says that n things are done; line is what to say about it without a bar.
func (c *counted) set(n int64, line string) {
	if c.bar != nil {
		c.bar.SetCurrent(n)
		return
	}
	if time.Since(c.said) >= reportEvery {
		c.said = time.Now()
		c.app.say("%s", line)
	}
}

// done ends the showing.
func (c *counted) done(complete bool) {
	if c.bar == nil {
		return
	}
	if complete {
		c.bar.SetCurrent(c.total) // a bar that is not full would be waited for
	} else {
		c.bar.Abort(true)
	}
	c.progress.Wait()
}
