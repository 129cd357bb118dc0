// Command kfaked is kfake, a Kafka in Go, as a process of its own with its data on disk,
// so that tests can kill it.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	port := flag.Int("port", 0, "port on loopback")
	dir := flag.String("dir", "", "folder of the data")
	lease := flag.Duration("lease", 100*time.Millisecond, "shortest session timeout of groups")
	flag.Parse()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(*port), kfake.DataDir(*dir), kfake.SyncWrites(),
		kfake.GroupMinSessionTimeout(*lease))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	c.Close()
}
