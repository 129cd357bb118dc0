package cli

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// reportEvery is how often long work says how far it is where there is no terminal.
const reportEvery = 10 * time.Second

// watched is an input that shows how much of it was read: a bar when stdin is a
// file and stderr a terminal, now and then a line otherwise.
type watched struct {
	app  *app
	r    io.Reader
	size int64 // 0 when it is not known
	read atomic.Int64

	bar      *mpb.Bar
	progress *mpb.Progress
	stop     chan struct{}
	ticker   sync.WaitGroup
}

func (a *app) watch(r io.Reader) *watched {
	w := &watched{app: a, r: r, stop: make(chan struct{})}
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			w.size = info.Size()
		}
	}
	if w.size > 0 && isTerminal(a.stderr) {
		w.progress = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(48))
		w.bar = w.progress.AddBar(w.size,
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name("publishing "), decor.Percentage()),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
		return w
	}
	w.ticker.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.say("%s KiB read", comma(w.read.Load()>>10))
			case <-w.stop:
				return
			}
		}
	})
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.read.Add(int64(n))
	if w.bar != nil {
		w.bar.IncrBy(n)
	}
	return n, err
}

// say writes a line to stderr, above the bar.
func (w *watched) say(line string) {
	if w.progress != nil {
		w.progress.Write([]byte(line + "\n"))
		return
	}
	w.app.say("%s", line)
}

// done ends the showing.
func (w *watched) done(complete bool) {
	close(w.stop)
	w.ticker.Wait()
	if w.bar == nil {
		return
	}
	if complete {
		w.bar.SetCurrent(w.size) // a bar that is not full would be waited for
	} else {
		w.bar.Abort(true)
	}
	w.progress.Wait()
}
