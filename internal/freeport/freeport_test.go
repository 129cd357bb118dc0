package freeport

import (
	"fmt"
	"net"
	"testing"
)

func TestFind(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port, err := Find(10000)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < first || port >= first+count {
			t.Fatalf("got %d, had %d others", port, len(seen))
		}
		seen[port] = true
	}
}

func TestFindSkipsTaken(t *testing.T) {
	for _, distance := range []int{0, 10000} {
		port, err := Find(distance)
		if err != nil {
			t.Fatal(err)
		}
		next := first + (port-first+1)%count
		l, err := net.Listen("tcp4", fmt.Sprint("127.0.0.1:", next+distance))
		if err == nil { // else somebody else has taken it
			defer l.Close()
		}
		if got, err := Find(10000); err != nil || got == next {
			t.Errorf("got %d, %v, which has its neighbour at distance %d taken", got, err, distance)
		}
	}
}
