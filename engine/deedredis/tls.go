package deedredis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
)

// readTLS reads the files of ca, cert and key.
func (s *settings) readTLS(q url.Values) error {
	c := s.client.TLSConfig
	if c == nil {
		for _, name := range []string{"ca", "cert", "skip_verify"} {
			if q.Has(name) {
				return fmt.Errorf("%s wants TLS (rediss://)", name)
			}
		}
		return nil
	}
	if q.Has("ca") {
		pem, err := os.ReadFile(q.Get("ca"))
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate", q.Get("ca"))
		}
	}
	if q.Has("cert") {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// isUntrusted tells whether the server's certificate was not accepted.
func isUntrusted(err error) bool {
	var failed *tls.CertificateVerificationError
	return errors.As(err, &failed)
}
