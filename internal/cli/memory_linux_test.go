package cli_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// watchMemory follows the peak memory of a process, which peak returns once it has
// ended. The system's own account of an ended process begins with the memory of
// whoever started it, so it says nothing here.
func watchMemory(pid int) (peak func(*os.ProcessState) int64) {
	var kib int64
	var watcher sync.WaitGroup
	ended := make(chan struct{})
	watcher.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, rest, _ := strings.Cut(string(status), "VmHWM:")
			fmt.Sscanf(rest, "%d kB", &kib)
		}
	})
	return func(*os.ProcessState) int64 {
		close(ended)
		watcher.Wait()
		return kib << 10
	}
}
