package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// killMarked kills the processes whose environment holds a variable, until none shows for
// a while: one may be on its way from the fork to its own environment.
func killMarked(variable string) {
	for empty := 0; empty < 5; empty++ {
		for _, pid := range marked(variable) {
			syscall.Kill(pid, syscall.SIGKILL)
			empty = 0
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func marked(variable string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil { // another user's, or it has ended
			continue
		}
		if !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}
