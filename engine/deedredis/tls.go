package deedredis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"

	"github.com/deedgo/deed/driverkit"
)

// readTLS reads the files of ca, cert and key.
func (s *settings) readTLS(q url.Values) error {
	if c := s.client.TLSConfig; c != nil {
		return driverkit.ReadTLS(c, q)
	}
	if name := driverkit.WantsTLS(q); name != "" {
		return fmt.Errorf("%s wants TLS (rediss://)", name)
	}
	return nil
}

// isUntrusted tells whether the server's certificate was not accepted.
func isUntrusted(err error) bool {
	var failed *tls.CertificateVerificationError
	return errors.As(err, &failed)
}
