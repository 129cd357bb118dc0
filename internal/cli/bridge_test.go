package cli

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/examples/data"
	"github.com/deedgo/deed/internal/mqtttest"
)

// What another program publishes on a broker, a week of earthquakes, arrives in a topic, by
// the command alone.
func TestBridgeCarriesWhatMosquittoPublishes(t *testing.T) {
	broker := mqtttest.Start(t)
	url := "sqlite:" + filepath.Join(t.TempDir(), "bus.db")
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr}
		args := []string{"bridge", broker.URL(), "-u", url, "--in", "quakes/#", "--topic", "quakes", "--retained"}
		ended <- run(ctx, a, args)
	}()
	quakes := exec.Command("mosquitto_pub", "-h", "127.0.0.1", "-p", strconv.Itoa(broker.Port()), "-q", "1",
		"-t", "quakes/all", "-l")
	quakes.Stdin = bytes.NewReader(data.Earthquakes())
	broker.Publish(t, "-q", "1", "-r", "-t", "quakes/retained", "-m", `{"mag":9}`)
	await := func(what, text string, n int) {
		t.Helper()
		tick, late := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
		defer tick.Stop()
		for {
			var out, errs bytes.Buffer
			a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
			run(t.Context(), a, []string{"cat", "quakes", "-u", url, "--data"})
			if strings.Count(out.String(), text) == n {
				return
			}
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("%s: %s %s\n%s", what, out.String(), errs.String(), stderr.String())
			}
		}
	}
	await("the retained message", `{"mag":9}`, 1)
	if out, err := quakes.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v %s", err, out)
	}
	week := strings.Split(strings.TrimSuffix(string(data.Earthquakes()), "\n"), "\n")
	await("all messages", `"type":"Feature"`, len(week))
	var out bytes.Buffer
	code := run(t.Context(), &app{stdin: strings.NewReader(""), stdout: &out, stderr: &stderr}, []string{
		"sub", "quakes", "--group", "report", "-u", url, "--data", "--count", strconv.Itoa(len(week) + 1),
	})
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	want := append(week, `{"mag":9}`)
	slices.Sort(got)
	slices.Sort(want)
	if code != exitDone || !slices.Equal(got, want) {
		t.Errorf("sub ends with %d and prints %d lines, which are not the %d that were published", code, len(got), len(want))
	}
	cancel()
	const carrying = "carrying quakes/# on the broker into topic quakes\n"
	if code := <-ended; code != exitDone || stdout.Len() > 0 || stderr.String() != carrying {
		t.Errorf("exit code %d, it says %s%s", code, stdout.String(), stderr.String())
	}
}

// A sub hears what devices publish while it runs, without a group.
func TestSubHearsDevices(t *testing.T) {
	broker := mqtttest.Start(t)
	var stdout, stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr}
		ended <- run(t.Context(), a, []string{"sub", "sensors.*", "-u", broker.URL(), "--count", "3", "--data"})
	}()
	tick, late := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		broker.Publish(t, "-q", "1", "-t", "sensors/hall", "-m", "warm")
		select {
		case code := <-ended:
			if code != exitDone || stdout.String() != "warm\nwarm\nwarm\n" {
				t.Errorf("exit code %d: %q, %s", code, stdout.String(), stderr.String())
			}
			return
		case <-tick.C:
		case <-late:
			t.Fatal("sub hears nothing")
		}
	}
}

func TestBridgeUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                                     "wrong number of arguments",
		"http://h --out t":                     "mqtt or mqtts",
		"mqtt://h":                             "nothing to carry",
		"mqtt://h --in a#b --topic t":          "whole levels",
		"mqtt://h --in #":                      "into which topic",
		"mqtt://h --out t --topic t":           "belong to --in",
		"mqtt://h --in # --topic t --name a/b": "bridge name",
		"mqtt://u:secret@h:%zz --out t":        "cannot be read",
	} {
		var stderr bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &stderr}
		code := run(t.Context(), a, append([]string{"bridge", "-u", "mem:"}, strings.Fields(args)...))
		if code != exitUsage || !strings.Contains(stderr.String(), want) || strings.Contains(stderr.String(), "secret") {
			t.Errorf("bridge %s: exit code %d, %s, want something about %q", args, code, stderr.String(), want)
		}
	}
}
