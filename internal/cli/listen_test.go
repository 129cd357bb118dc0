package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/redistest"
)

// A sub hears, by pattern, what pub and other programs publish while it runs.
func TestSubHearsWhatIsPublishedMeanwhile(t *testing.T) {
	server := redistest.Start(t)
	url := strings.Replace(server.URL(), "redis:", "redis+pubsub:", 1)
	var stdout, stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr}
		ended <- run(context.Background(), a, []string{"sub", "sensors.*", "-u", url, "--count", "40", "--data"})
	}()
	deadline := time.After(time.Minute)
	for {
		command(t, `{"celsius":21.5}`, "pub", "sensors.hall", "-u", url)
		command(t, `"unheard"`, "pub", "weather", "-u", url)
		if _, err := server.Command("PUBLISH", "deed:topic:sensors.attic", "warm"); err != nil {
			t.Fatal(err)
		}
		select {
		case code := <-ended:
			lines := strings.Fields(stdout.String())
			hall, attic := 0, 0
			for _, line := range lines {
				switch line {
				case `{"celsius":21.5}`:
					hall++
				case "warm":
					attic++
				}
			}
			if code != exitDone || len(lines) != 40 || hall+attic != 40 || hall == 0 || attic == 0 {
				t.Errorf("exit code %d, %d lines, %d and %d as published: %s\n%s",
					code, len(lines), hall, attic, stderr.String(), stdout.String())
			}
			return
		case <-deadline:
			t.Fatal("sub hears nothing")
		default:
		}
	}
}
