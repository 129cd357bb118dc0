// Package freeport finds ports on loopback for servers that tests start.
//
// They are below those that the system gives to clients. A client that tries again
// while its server is down might otherwise be given the server's port, or even be
// connected to itself.
package freeport

import (
	"fmt"
	"net"
	"os"
	"sync"
)

const (
	first = 11000
	count = 10000
	apart = 64 // the distance of two processes' first ports
)

var last struct {
	sync.Mutex
	n int
}

// Find returns a port between 11000 and 20999 that nobody has, and whose neighbours
// at the given distances nobody has either. Processes that run at the same time begin
// at different ports, so that none takes one that another's server has left for a
// moment; somebody else still may. Find may be called concurrently.
func Find(distances ...int) (int, error) {
	last.Lock()
	defer last.Unlock()
	for range count {
		last.n++
		port := first + (os.Getpid()*apart+last.n)%count
		if free(port, distances) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port is free between %d and %d", first, first+count-1)
}

func free(port int, distances []int) bool {
	for _, d := range append(distances, 0) {
		l, err := net.Listen("tcp4", fmt.Sprint("127.0.0.1:", port+d))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
