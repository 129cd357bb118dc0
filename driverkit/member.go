package driverkit

import (
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A member is one connection of one process, "host/pid/random"; its seats have names
// of their own behind that.

// MemberName returns a name for a connection of this process that no other has.
func MemberName() string { return fmt.Sprintf("%s/%d/%s", hostName(), os.Getpid(), rand.Text()[:8]) }

func hostName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return strings.ReplaceAll(host, "/", "-")
}

// ProcessOf returns what people know a member or seat's process by: "host/pid".
func ProcessOf(member string) string {
	host, rest, _ := strings.Cut(member, "/")
	pid, _, _ := strings.Cut(rest, "/")
	return host + "/" + pid
}

// ProcessEnded reports whether a member or seat's process ran on this machine and is
// not there any more. On other machines its lease decides.
func ProcessEnded(member string) bool {
	host, pidText, _ := strings.Cut(ProcessOf(member), "/")
	pid, err := strconv.Atoi(pidText)
	return err == nil && host == hostName() && processGone(pid)
}
