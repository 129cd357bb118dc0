package redistest

import (
	"fmt"
	"testing"

	"github.com/deedgo/deed/internal/testserver"
)

// TLS is what the clients of a server with TLS know.
type TLS = testserver.TLS

// StartTLS is [Start] for a server that speaks TLS only. Its certificate is for
// 127.0.0.1 and localhost, signed by an authority that nobody else knows. It wants no
// certificate of clients, unless a directive says "tls-auth-clients yes".
func StartTLS(t testing.TB, directives ...string) (*Server, *TLS) {
	t.Helper()
	c, err := testserver.NewTLS(t.TempDir())
	if err != nil {
		t.Fatalf("certificates: %v", err)
	}
	s := start(t, &Server{tls: c}, func(s *Server) []string { return append(s.listen(), directives...) })
	return s, c
}

// listenTLS returns the directives of a server that listens with TLS.
func listenTLS(c *TLS, port int) []string {
	return []string{
		"port 0",
		fmt.Sprint("tls-port ", port),
		fmt.Sprintf("tls-ca-cert-file %q", c.CAFile),
		fmt.Sprintf("tls-cert-file %q", c.ServerCertFile),
		fmt.Sprintf("tls-key-file %q", c.ServerKeyFile),
		"tls-auth-clients no",
		"tls-replication yes",
	}
}
