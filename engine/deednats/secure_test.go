package deednats

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/natstest"
	"github.com/deedgo/deed/internal/testserver"
)

// serves publishes an event by a URL and reads it.
func serves(t *testing.T, url string) {
	t.Helper()
	c := open(t, url)
	info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := driver.Batch{Topic: "orders", Generation: info.Generation, Messages: messages(1, 1)}
	if r := publish(t, c, b); r.Err != nil {
		t.Fatal(r.Err)
	}
	ds, err := c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 10})
	if err != nil || len(ds) == 0 {
		t.Errorf("%d events, %v; want what was published", len(ds), err)
	}
}

// refuses wants Open to fail, in words that do not repeat a secret.
func refuses(t *testing.T, url, says string) {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), says) ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("%v; want a refusal with %q, and no secret", err, says)
	}
}

// A server with TLS is reached by who trusts its authority, and has a certificate where it
// wants one.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := testserver.NewTLS(dir)
	if err != nil {
		t.Fatal(err)
	}
	block := func(verify bool) []string {
		return []string{fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %v }",
			c.ServerCertFile, c.ServerKeyFile, c.CAFile, verify)}
	}
	s := natstest.StartWith(t, block(false), nats.Secure(c.Config()))
	serves(t, s.URL()+"?ca="+c.CAFile)
	serves(t, s.URL()+"?skip_verify=1")
	refuses(t, s.URL()+"?tls=1", "certificate")
	mutual := natstest.StartWith(t, block(true), nats.Secure(c.Config()))
	serves(t, mutual.URL()+"?ca="+c.CAFile+"&cert="+c.CertFile+"&key="+c.KeyFile)
	refuses(t, mutual.URL()+"?ca="+c.CAFile, "TLS")
}

// key is one as NATS writes it, an NKey: the letters say of whom.
type key struct{ private ed25519.PrivateKey }

// The bytes that a public key begins with, and a seed.
const (
	anOperator = 14 << 3
	anAccount  = 0
	aUser      = 20 << 3
	aSeed      = 18 << 3
)

// newKey makes a key, and writes its seed into a file.
func newKey(t *testing.T, of byte) (k key, public, seed, file string) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed = checked(append([]byte{aSeed | of>>5, of & 31 << 3}, private.Seed()...))
	file = filepath.Join(t.TempDir(), "key.nk")
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		t.Fatal(err)
	}
	return key{private}, checked(append([]byte{of}, pub...)), seed, file
}

// checked adds the sum that NATS wants, CRC-16 of XMODEM, and writes all in letters.
func checked(b []byte) string {
	sum := uint16(0)
	for _, x := range b {
		sum ^= uint16(x) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(binary.LittleEndian.AppendUint16(b, sum))
}

// A user is known by a password, a token or a key.
func TestUsers(t *testing.T) {
	t.Parallel()
	at := func(s *natstest.Server, user string) string { return strings.Replace(s.URL(), "//", "//"+user+"@", 1) }

	named := natstest.StartWith(t, []string{`authorization { user: "shop", password: "a secret" }`},
		nats.UserInfo("shop", "a secret"))
	serves(t, at(named, "shop:a%20secret"))
	refuses(t, at(named, "shop:another%20secret"), "does not let this user in")

	token := natstest.StartWith(t, []string{`authorization { token: "a-secret" }`}, nats.Token("a-secret"))
	serves(t, at(token, "a-secret"))
	refuses(t, at(token, "another-secret"), "does not let this user in")

	_, public, _, file := newKey(t, aUser)
	_, _, _, stranger := newKey(t, aUser)
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	keyed := natstest.StartWith(t, []string{fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public)}, option)
	serves(t, keyed.URL()+"?nkey="+file)
	refuses(t, keyed.URL()+"?nkey="+stranger, "does not let this user in")
	refuses(t, keyed.URL(), "does not let this user in")
}

// A file of credentials, as nsc makes it, is the user of an account that an operator has
// signed.
func TestCreds(t *testing.T) {
	t.Parallel()
	operator, operatorID, _, _ := newKey(t, anOperator)
	account, accountID, _, _ := newKey(t, anAccount)
	_, systemID, _, _ := newKey(t, anAccount)
	_, userID, secret, _ := newKey(t, aUser)
	accountOf := func(limits map[string]any) map[string]any {
		return map[string]any{"type": "account", "version": 2, "limits": limits}
	}
	some, all := unlimited(), unlimited()
	for _, name := range []string{"mem_storage", "disk_storage", "streams", "consumer"} { // of JetStream
		all[name] = -1
	}
	files := map[string]string{
		"operator": signed(t, operatorID, operator, map[string]any{
			"type": "operator", "version": 2, "system_account": systemID,
		}),
		"account": signed(t, accountID, operator, accountOf(all)),
		"system":  signed(t, systemID, operator, accountOf(some)),
		"user": signed(t, userID, account, map[string]any{
			"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
		}),
	}
	creds := filepath.Join(t.TempDir(), "user.creds")
	text := "-----BEGIN NATS USER JWT-----\n" + files["user"] + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + secret + "\n------END USER NKEY SEED------\n"
	if err := os.WriteFile(creds, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := natstest.StartWith(t, []string{
		"operator: " + files["operator"], "system_account: " + systemID, "resolver: MEMORY",
		"resolver_preload: { " + accountID + ": " + files["account"] + ", " + systemID + ": " + files["system"] + " }",
	}, nats.UserCredentials(creds))
	serves(t, s.URL()+"?creds="+creds)
	refuses(t, s.URL(), "does not let this user in")
}

// unlimited are the limits of an account without JetStream.
func unlimited() map[string]any {
	return map[string]any{
		"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
	}
}

// signed writes the claims of an operator, account or user, signed by a key.
func signed(t *testing.T, subject string, by key, claims map[string]any) string {
	t.Helper()
	issuer := byte(anOperator) // who signs accounts, and itself
	if claims["type"] == "user" {
		issuer = anAccount
	}
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	unsigned := encode(map[string]string{"typ": "JWT", "alg": "ed25519-nkey"}) + "." + encode(map[string]any{
		"jti": subject, "iat": 1700000000, "name": subject, "sub": subject, "nats": claims,
		"iss": checked(append([]byte{issuer}, by.private.Public().(ed25519.PublicKey)...)),
	})
	return unsigned + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(by.private, []byte(unsigned)))
}
