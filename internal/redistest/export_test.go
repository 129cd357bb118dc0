package redistest

import "testing"

// Record makes a server report to r.
func Record(s *Server, r testing.TB) { s.t = r }

// Release lets others have the port of a server that is down.
func Release(s *Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
}
