package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// TLS is what the clients of a server with TLS know: the authority that signed the
// server's certificate, and a certificate for themselves.
type TLS struct {
	CAFile            string // PEM
	CertFile, KeyFile string // PEM: a client's, for a server that wants one
	ServerCertFile    string // PEM
	ServerKeyFile     string // PEM
	Pool              *x509.CertPool
	Certificate       tls.Certificate // a client's
}

// Config returns a client's configuration with the authority and its certificate.
func (c *TLS) Config() *tls.Config {
	return &tls.Config{RootCAs: c.Pool, Certificates: []tls.Certificate{c.Certificate}}
}

// NewTLS writes an authority, and a server's and a client's certificate, into dir. The
// server's is for 127.0.0.1 and localhost.
func NewTLS(dir string) (*TLS, error) {
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "deed test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	ca, err := sign(authority, nil)
	if err != nil {
		return nil, err
	}
	server, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "deed test server"}, KeyUsage: x509.KeyUsageDigitalSignature,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		// A replica is a client of its master, with the same certificate.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca)
	if err != nil {
		return nil, err
	}
	client, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "deed test client"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca)
	if err != nil {
		return nil, err
	}
	c := &TLS{
		CAFile:   filepath.Join(dir, "ca.crt"),
		CertFile: filepath.Join(dir, "client.crt"), KeyFile: filepath.Join(dir, "client.key"),
		ServerCertFile: filepath.Join(dir, "server.crt"), ServerKeyFile: filepath.Join(dir, "server.key"),
		Pool: x509.NewCertPool(), Certificate: *client,
	}
	c.Pool.AddCert(ca.Leaf)
	for name, cert := range map[string]*tls.Certificate{"ca": ca, "server": server, "client": client} {
		if err := writePEM(filepath.Join(dir, name), cert); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// sign makes a key and its certificate, signed by an authority, or by itself when
// there is none.
func sign(cert *x509.Certificate, by *tls.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, err
	}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, parentKey := cert, any(key)
	if by != nil {
		parent, parentKey = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// writePEM writes name.crt and name.key.
func writePEM(name string, cert *tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(name+".crt", crt, 0o600); err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	if err := os.WriteFile(name+".key", private, 0o600); err != nil {
		return err
	}
	return errors.Join(give(name+".crt"), give(name+".key")) // a server may run as nobody
}
