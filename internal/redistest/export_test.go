package redistest

import "testing"

// Record makes a server report to r.
func Record(s *Server, r testing.TB) { s.TB = r }
