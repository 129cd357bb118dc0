package driverkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a certificate that signs itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	as := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, as, as, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", signed), write("key.pem", "EC PRIVATE KEY", secret)
}

func TestParseURL(t *testing.T) {
	known := []string{"addr", "timeout"}
	for text, want := range map[string]string{
		"x://me:secret@host/a?timeout=2s&addr=b&addr=c": "",
		"x://me:secret@host:port/a":                     "cannot be read (want x://HOST, special characters as %XX)",
		"x:secret":                                      "cannot be read (want x://HOST",
		"x://me:secret@host/#a":                         "cannot be read (want x://HOST",
		"x://me:secret@host?timeout=%zz":                "its parameters cannot be read",
		"x://me:secret@host?timeuot=2s":                 `unknown parameter "timeuot" (want addr, timeout)`,
		"x://me:secret@host?timeout=2s&timeout=3s":      "timeout is given 2 times (want once)",
	} {
		u, q, err := ParseURL(text, "x://HOST", known, "addr")
		switch {
		case want == "" && (err != nil || u.Host != "host" || len(q["addr"]) != 2):
			t.Errorf("%s: got %v, %v and %v", text, u, q, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
			t.Errorf("%s: got %v, want %s…", text, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error gives the password away: %v", text, err)
		}
	}
}

func TestWithPort(t *testing.T) {
	for host, want := range map[string]string{
		"a": "a:7", "a:8": "a:8", "10.0.0.1": "10.0.0.1:7", "[::1]": "[::1]:7", "[::1]:8": "[::1]:8",
	} {
		if got := WithPort(host, "7"); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func TestReadTLS(t *testing.T) {
	cert, key := certificate(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q, want         string // want is "" for no error
		roots, own, all bool
	}{
		{q: ""},
		{q: "ca=" + cert, roots: true},
		{q: "cert=" + cert + "&key=" + key, own: true},
		{q: "skip_verify=1", all: true},
		{q: "skip_verify=false"},
		{q: "ca=" + cert + "&cert=" + cert + "&key=" + key + "&skip_verify=true", roots: true, own: true, all: true},
		{q: "ca=" + empty, want: "holds no certificate"},
		{q: "ca=" + empty + ".not", want: "ca: "},
		{q: "cert=" + cert, want: "without each other"},
		{q: "key=" + key, want: "without each other"},
		{q: "cert=" + key + "&key=" + cert, want: "cert and key: "},
		{q: "skip_verify=perhaps", want: `skip_verify is "perhaps"`},
		{q: "skip_verify=", want: `skip_verify is ""`},
	} {
		q, err := url.ParseQuery(c.q)
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		err = ReadTLS(config, q)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.q, err, c.want)
		}
		if err == nil && ((config.RootCAs != nil) != c.roots || (len(config.Certificates) == 1) != c.own ||
			config.InsecureSkipVerify != c.all) {
			t.Errorf("%s: roots %v, %d certificates, all are trusted: %v; want %v, %v, %v", c.q,
				config.RootCAs != nil, len(config.Certificates), config.InsecureSkipVerify, c.roots, c.own, c.all)
		}
	}
}

func TestWantsTLS(t *testing.T) {
	for query, want := range map[string]string{
		"": "", "prefix=x": "", "key=k&cert=c": "cert", "skip_verify=0": "skip_verify", "skip_verify=1&ca=c": "ca",
	} {
		q, err := url.ParseQuery(query)
		if got := WantsTLS(q); err != nil || got != want {
			t.Errorf("%q wants TLS by %q, %v, want %q", query, got, err, want)
		}
	}
}

func TestReadParameters(t *testing.T) {
	for query, want := range map[string]string{
		"": "", "addr=a&addr=b&wait=2s&on=true&buffer_events=7": "",
		"other=1": `unknown parameter "other" (want addr, `, "on=1&on=1": "on is given 2 times",
		"wait=soon": `wait is "soon"`, "wait=1us": "wait is", "on=perhaps": "on is", "buffer_bytes=0": "buffer_bytes is",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		wait, room := time.Minute, Room{Events: 1, Bytes: 2}
		err = checkParameters(q, []string{"addr", "buffer_bytes", "buffer_events", "on", "wait"}, "addr")
		if err == nil {
			err = ReadTimes(q, map[string]*time.Duration{"wait": &wait})
		}
		if err == nil {
			err = room.Read(q)
		}
		on, flagErr := ReadFlag(q, "on")
		if err == nil {
			err = flagErr
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", query, err, want)
		}
		if err == nil && q.Has("wait") && (wait != 2*time.Second || !on || room != Room{Events: 7, Bytes: 2}) {
			t.Errorf("%q: wait %v, on %v, room %+v", query, wait, on, room)
		}
	}
}
